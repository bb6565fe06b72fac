"""ADD and DEL of different pods go side by side, GC only when there is neither."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Many pass together, or one alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()

    @property
    def idle(self) -> bool:
        """Whether nobody is inside."""
        return self._inside == 0 and self._open.is_set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be one of many; waits while somebody is alone."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep everybody else out; only while `idle`."""
        if not self.idle:
            raise RuntimeError("the gate is in use")
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
