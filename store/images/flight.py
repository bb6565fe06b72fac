"""One run of a pull for all who ask for it, and locks by key.

A run belongs to the group that `Flights` opens, not to the caller who happened to come first. It
is cancelled once, when the last who waited is gone, so its cleanup may await what it needs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from store.images import Progress, Report

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Run(Generic[T]):
    result: asyncio.Future[T]
    reports: list[Report] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    waiting: int = 0

    def report(self, progress: Progress) -> None:
        for report in self.reports:
            report(progress)


class Flights(Generic[T]):
    """Runs by key. Use as a block: leaving it cancels what is under way and waits for it."""

    def __init__(self) -> None:
        self._runs: dict[Hashable, _Run[T]] = {}
        self._group = asyncio.TaskGroup()

    def __repr__(self) -> str:
        return f"<Flights: {len(self._runs)} under way>"

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key, run in list(self._runs.items()):
            self._cancel(key, run)
        await self._group.__aexit__(kind, error, trace)

    async def join(
        self, key: Hashable, work: Callable[[Report], Awaitable[T]], report: Report | None
    ) -> T:
        """Return what `work` returns, from the run under `key` if there is one.

        `report` hears of the progress of the shared run from now on. Who asks after a run was
        cancelled starts a new one, which may find the old one still clearing up.
        """
        run = self._runs.get(key) or self._begin(key, work)
        run.waiting += 1
        if report is not None:
            run.reports.append(report)
        try:
            return await asyncio.shield(run.result)
        finally:
            run.waiting -= 1
            if report is not None:
                run.reports.remove(report)
            if not run.waiting:
                self._cancel(key, run)

    def _begin(self, key: Hashable, work: Callable[[Report], Awaitable[T]]) -> _Run[T]:
        run: _Run[T] = _Run(asyncio.get_running_loop().create_future())
        self._runs[key] = run
        run.task = self._group.create_task(_lead(run, work))
        run.task.add_done_callback(lambda _: self._end(key, run))
        return run

    def _end(self, key: Hashable, run: _Run[T]) -> None:
        """Clear up after a run, also after one that was cancelled before it began."""
        self._forget(key, run)
        if not run.result.done():
            run.result.cancel()

    def _cancel(self, key: Hashable, run: _Run[T]) -> None:
        if not run.result.done() and run.task is not None and self._forget(key, run):
            run.task.cancel()

    def _forget(self, key: Hashable, run: _Run[T]) -> bool:
        """Take the run from the list; tell whether it was there."""
        if self._runs.get(key) is not run:
            return False
        del self._runs[key]
        return True


async def _lead(run: _Run[T], work: Callable[[Report], Awaitable[T]]) -> None:
    try:
        result = await work(run.report)
    except Exception as error:  # noqa: BLE001 - it belongs to those who wait
        run.result.set_exception(error)
        run.result.exception()  # nobody may be left to ask for it
    else:
        run.result.set_result(result)


class Locks:
    """One lock for each key, gone when nobody wants it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of `key` for the block."""
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]
