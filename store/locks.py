"""One lock for each thing, made when it is wanted and gone when nobody wants it."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Locks:
    """Locks by key. A subclass may hear of waiting through `_waiting`."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of `key` for the block."""
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            if lock.locked():
                self._waiting(key)
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]

    def _waiting(self, key: Hashable) -> None:
        pass
