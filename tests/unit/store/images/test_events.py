import asyncio

import pytest

from store.errors import UnavailableError
from store.images.events import BACKLOG, Events


async def test_everybody_who_listens_hears() -> None:
    events = Events()

    async def first() -> tuple[str, str]:
        async for event in events.listen():
            return event
        raise AssertionError

    events.publish("/images/create", "nobody hears")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(first()) for _ in "12"]
        await asyncio.sleep(0)
        events.publish("/images/create", "x")
    assert [task.result() for task in tasks] == [("/images/create", "x")] * 2


async def test_who_is_too_slow_is_told() -> None:
    events = Events()
    heard: list[str] = []
    slow = asyncio.Event()

    async def listen() -> None:
        async for _, name in events.listen():
            heard.append(name)
            await slow.wait()

    async def complain() -> None:
        with pytest.raises(UnavailableError, match="more than 1000"):
            await listen()

    async with asyncio.TaskGroup() as group:
        group.create_task(complain())
        await asyncio.sleep(0)
        for number in range(BACKLOG + 5):
            events.publish("/images/update", str(number))
        slow.set()
    assert heard == [str(number) for number in range(BACKLOG)]
