"""One run of an operation for all who ask for it.

A client that gave up and asks again joins the run that is still under way, and gets its result. A
run belongs to the group that `Flight` opens, not to the caller who happened to come first. It is
cancelled once, when the last who waited for it is gone, so its cleanup may await what it needs;
whoever asks meanwhile waits until it has undone itself, and then starts anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from store.errors import AlreadyExistsError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Run(Generic[T]):
    name: str
    fingerprint: object
    result: asyncio.Future[T]
    mark: object
    task: asyncio.Task[None] | None = None
    waiters: int = 0
    leaving: bool = False

    def cancel(self) -> None:
        if not self.result.done() and self.task is not None and not self.leaving:
            self.leaving = True
            self.task.cancel()


class Flight(Generic[T]):
    """Runs by key. Use as a block: leaving it cancels what is under way and waits for it.

    A subclass may hear of waiting: `_mark` is kept with a run that begins, `_joined` gets it when
    another caller joins, `_undoing` is told whose undo is awaited.
    """

    def __init__(self) -> None:
        self._runs: dict[Hashable, _Run[T]] = {}
        self._group = asyncio.TaskGroup()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._runs)} under way>"

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for run in self._runs.values():
            run.cancel()
        await self._group.__aexit__(kind, error, trace)

    def running(self, key: Hashable) -> bool:
        """Tell whether something under `key` is under way."""
        return key in self._runs

    async def join(
        self,
        key: Hashable,
        work: Callable[[], Awaitable[T]],
        *,
        name: str = "",
        fingerprint: object = None,
    ) -> T:
        """Return what `work` returns, from the run under `key` if there is one.

        Args:
            key: what is made; one run for each.
            work: makes it, if nothing does yet.
            name: what people call it.
            fingerprint: how it is made; compared by `==`.

        Raises:
            AlreadyExistsError: a run with a different `fingerprint` holds the key.
        """
        while (run := self._runs.get(key)) is not None and run.leaving:
            self._undoing(run.name)
            await asyncio.wait([run.result])
        if run is None:
            run = self._begin(key, _Run(name, fingerprint, _future(), self._mark()), work)
        elif run.fingerprint != fingerprint:
            raise AlreadyExistsError(f"{run.name} is being made with a different configuration")
        else:
            self._joined(run.mark)
        run.waiters += 1
        try:
            return await asyncio.shield(run.result)
        finally:
            run.waiters -= 1
            if run.waiters == 0:
                run.cancel()

    def _mark(self) -> object:
        return None

    def _joined(self, mark: object) -> None:
        pass

    def _undoing(self, name: str) -> None:
        pass

    def _begin(self, key: Hashable, run: _Run[T], work: Callable[[], Awaitable[T]]) -> _Run[T]:
        self._runs[key] = run
        run.task = self._group.create_task(_lead(run, work), name=run.name)
        run.task.add_done_callback(lambda _: self._end(key, run))
        return run

    def _end(self, key: Hashable, run: _Run[T]) -> None:
        """Clear up after a run, also after one that was cancelled before it began."""
        del self._runs[key]
        if not run.result.done():
            run.result.cancel()


def _future() -> asyncio.Future[T]:
    return asyncio.get_running_loop().create_future()


async def _lead(run: _Run[T], work: Callable[[], Awaitable[T]]) -> None:
    try:
        result = await work()
    except Exception as error:  # noqa: BLE001 - it belongs to those who wait
        run.result.set_exception(error)
        run.result.exception()  # nobody may be left to ask for it
    else:
        run.result.set_result(result)
