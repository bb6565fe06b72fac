"""Telling many listeners of one thing after another, without losing any of them."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from store.errors import ResourceExhaustedError

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Hands every published value to every subscription that exists at that moment."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[_Subscription[T]] = weakref.WeakSet()
        self._closed = False

    def __len__(self) -> int:
        """Return how many listen."""
        return len(self._subscriptions)

    def publish(self, value: T) -> None:
        """Queue `value` for each subscriber; never waits, drops only what `subscribe` says."""
        for subscription in self._subscriptions:
            subscription.put(value)

    def subscribe(self, limit: int | None = None) -> AsyncIterator[T]:
        """Return the values from now on; they are kept until read or the iterator is dropped.

        A subscriber that has `limit` values unread when the next one comes gets those and then a
        ResourceExhaustedError: it has missed some, and knows it.
        """
        subscription = _Subscription[T](limit)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription, behind what it has not read yet; new ones end at once."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()


class _Subscription(AsyncIterator[T]):
    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._values: deque[T] = deque()
        self._filled = asyncio.Event()
        self._end: Exception | None = None

    def put(self, value: T) -> None:
        if self._end is not None:
            return
        if self._limit is not None and len(self._values) >= self._limit:
            self._end = ResourceExhaustedError(
                f"cannot follow: {self._limit} events were waiting to be read and the next one is "
                "lost; list again"
            )
        else:
            self._values.append(value)
        self._filled.set()

    def close(self) -> None:
        self._end = self._end or StopAsyncIteration()
        self._filled.set()

    async def __anext__(self) -> T:
        while not self._values:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        return self._values.popleft()
