"""Telling many listeners of one thing after another, without losing any of them."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Hands every published value to every subscription that exists at that moment."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[_Subscription[T]] = weakref.WeakSet()

    def publish(self, value: T) -> None:
        """Queue `value` for each subscriber; never waits, never drops."""
        for subscription in self._subscriptions:
            subscription.put(value)

    def subscribe(self) -> AsyncIterator[T]:
        """Return the values from now on; they are kept until read or the iterator is dropped."""
        subscription = _Subscription[T]()
        self._subscriptions.add(subscription)
        return subscription


class _Subscription(AsyncIterator[T]):
    def __init__(self) -> None:
        self._values: deque[T] = deque()
        self._filled = asyncio.Event()

    def put(self, value: T) -> None:
        self._values.append(value)
        self._filled.set()

    async def __anext__(self) -> T:
        while not self._values:
            self._filled.clear()
            await self._filled.wait()
        return self._values.popleft()
