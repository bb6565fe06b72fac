import asyncio
import gc

from runtime.events import Broadcast


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
