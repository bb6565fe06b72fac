import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from runtime.events import Broadcast
from store.errors import ResourceExhaustedError


async def test_every_subscriber_gets_everything_from_its_own_beginning() -> None:
    broadcast: Broadcast[int] = Broadcast()
    first = broadcast.subscribe()
    broadcast.publish(1)
    second = broadcast.subscribe()
    for number in range(2, 1000):
        broadcast.publish(number)
    assert [await anext(first) for _ in range(999)] == list(range(1, 1000))
    assert [await anext(second) for _ in range(998)] == list(range(2, 1000))


async def test_a_subscriber_waits_for_the_next() -> None:
    broadcast: Broadcast[str] = Broadcast()
    subscription = broadcast.subscribe()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(anext_of(subscription))
        await asyncio.sleep(0)
        broadcast.publish("event")
    assert waiting.result() == "event"


async def anext_of(subscription: "object") -> str:
    value = await anext(subscription)  # type: ignore[call-overload]  # an async iterator
    assert isinstance(value, str)
    return value


async def test_a_dropped_subscription_keeps_nothing() -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    del subscription
    gc.collect()
    broadcast.publish(1)
    assert len(broadcast._subscriptions) == 0


async def test_a_subscriber_that_falls_behind_is_told_after_what_was_kept() -> None:
    broadcast: Broadcast[int] = Broadcast()
    slow, quick = broadcast.subscribe(limit=3), broadcast.subscribe(limit=3)
    for number in range(3):
        broadcast.publish(number)
    assert [await anext(quick) for _ in range(3)] == [0, 1, 2]
    broadcast.publish(3)
    broadcast.publish(4)
    assert [await anext(slow) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ResourceExhaustedError, match="3 events were waiting"):
            await anext(slow)
    assert [await anext(quick) for _ in range(2)] == [3, 4]


async def test_one_that_keeps_up_loses_nothing_however_much_comes() -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe(limit=1)
    for number in range(1000):
        broadcast.publish(number)
        assert await anext(subscription) == number


async def test_the_end_comes_after_what_is_unread() -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    broadcast.publish(1)
    broadcast.close()
    broadcast.publish(2)
    assert [value async for value in subscription] == [1]
    assert [value async for value in broadcast.subscribe()] == []


async def test_the_end_wakes_who_waits() -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(collected(subscription))
        await asyncio.sleep(0)
        broadcast.close()
    assert waiting.result() == []


async def collected(subscription: AsyncIterator[int]) -> list[int]:
    return [value async for value in subscription]


def test_listeners_are_counted() -> None:
    broadcast: Broadcast[int] = Broadcast()
    assert not broadcast
    subscription = broadcast.subscribe()
    assert len(broadcast) == 1
    del subscription
