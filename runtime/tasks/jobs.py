"""Work behind the answers: owned by a block, never spreading an error, never left behind."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from types import TracebackType
from typing import Self, TypeVar

from store.errors import Error

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Jobs:
    """Tasks of the event loop in one group; leaving the block cancels what is left."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._jobs: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for job in tuple(self._jobs):
            job.cancel()
        await self._group.__aexit__(kind, error, trace)

    @staticmethod
    async def drain(jobs: Collection[asyncio.Task[None]], within: float) -> None:
        """Wait for some to end, at most `within` seconds."""
        if jobs:
            await asyncio.wait(jobs, timeout=within)

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run a job behind the answers; see `job`."""
        _ = self.job(work, name)

    def job(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Return a job behind the answers; whatever it raises is logged, never spread."""
        task = self._group.create_task(_logged(work, name), name=name)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it begins
        return task

    async def complete(self, work: Coroutine[None, None, T], name: str) -> T:
        """Return what `work` returns; if the caller leaves before, it goes on all the same.

        Raises:
            asyncio.CancelledError: also when the block was left before the work began.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        result.add_done_callback(lambda done: done.cancelled() or done.exception())

        def settle(_: asyncio.Task[None]) -> None:
            work.close()
            result.cancel()

        self.job(_into(work, result), name).add_done_callback(settle)
        return await asyncio.shield(result)


async def _into(work: Coroutine[None, None, T], result: "asyncio.Future[T]") -> None:
    try:
        value = await work
    except asyncio.CancelledError:
        result.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - handed to the caller as it is
        result.set_exception(error)
    else:
        result.set_result(value)


async def _logged(job: Coroutine[None, None, None], name: str) -> None:
    try:
        await job
    except Exception as error:  # noqa: BLE001 - one job must not end the others
        _log.warning("cannot %s: %s", name, error, exc_info=not isinstance(error, Error))
