import asyncio
import time

from runtime.tasks.live import Stop
from tests.waiting import PATIENCE


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_patience_ends_with_the_deadline() -> None:
    before = time.monotonic()
    assert not await Stop(now() + 0.05).patience(asyncio.Event())
    assert 0.04 <= time.monotonic() - before < PATIENCE


async def test_patience_ends_with_the_event() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, ended.set)
    assert await Stop(now() + 60).patience(ended)


async def test_what_has_ended_needs_no_patience() -> None:
    ended = asyncio.Event()
    ended.set()
    assert await Stop(now() - 1).patience(ended)


async def test_everybodys_patience_is_shortened_and_never_prolonged() -> None:
    stop = Stop(now() + 60)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(stop.patience(ended)) for _ in range(3)]
        await asyncio.sleep(0)
        stop.shorten(now() + 100)
        stop.shorten(now() + 0.02)
    assert [task.result() for task in waiting] == [False] * 3
    assert stop.timers == set()


async def test_a_cancelled_wait_forgets_its_timer() -> None:
    stop = Stop(now() + 60)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(stop.patience(asyncio.Event()))
        await asyncio.sleep(0)
        assert len(stop.timers) == 1
        waiting.cancel()
    assert stop.timers == set()
