"""Work that goes on beside the calls: at intervals, for ever, never the end of the daemon."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

from runtime.operations import Operations
from store.errors import Error

_log = logging.getLogger(__name__)


class Every:
    """Does something at an interval, and at once when it is poked.

    Args:
        name: what it is called among the operations.
        seconds: returns the interval, asked anew each time (it may be reloaded).
        work: what is done; its errors are logged and it is tried again.
    """

    def __init__(
        self, name: str, seconds: Callable[[], float], work: Callable[[], Awaitable[object]]
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Do it now, or once more if it is being done."""
        self._poked.set()

    async def run(self, operations: Operations) -> None:
        """Go on for ever."""
        while True:
            try:
                async with asyncio.timeout(self._seconds()):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()
            with operations.begin(self._name):
                try:
                    await self._work()
                except (Error, OSError) as error:
                    _log.warning("%s: %s", self._name, error)


class Forever:
    """Tasks that run until the block around them ends. One that fails ends the daemon."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.tasks: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` until the block ends."""
        self.tasks.append(self._group.create_task(work, name=name))


@asynccontextmanager
async def forever() -> AsyncIterator[Forever]:
    """Own background tasks for the block; leaving it ends them."""
    async with asyncio.TaskGroup() as group:
        owner = Forever(group)
        try:
            yield owner
        finally:
            for task in owner.tasks:
                task.cancel()
