"""One run of an operation for all who ask for it.

A client that gave up and asks again joins the run that is still under way, and gets its result. A
run is cancelled when the last who waited for it is gone; whoever asks meanwhile waits until it has
undone itself, and then starts anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from runtime import operations
from store.errors import AlreadyExistsError

T = TypeVar("T")


@dataclass(slots=True)
class _Run(Generic[T]):
    fingerprint: object
    result: asyncio.Future[T]
    operation: operations.Operation | None
    task: asyncio.Task[None] | None = None
    waiters: int = 0
    leaving: bool = False


class Flight(Generic[T]):
    """Running operations by key. Use as a block: leaving it waits for every run to end."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run[T]] = {}
        self._group = asyncio.TaskGroup()

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
            _cancel(run)
        await self._group.__aexit__(kind, error, trace)

    def running(self, key: str) -> bool:
        """Tell whether something under `key` is under way."""
        return key in self._runs

    async def join(self, key: str, fingerprint: object, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, from the run under `key` if there is one.

        Raises:
            AlreadyExistsError: a run with a different `fingerprint` holds the key.
        """
        while (run := self._runs.get(key)) is not None and run.leaving:
            operations.stage("undo of the last attempt", key)
            await asyncio.wait([run.result])
        if run is None:
            run = self._begin(key, fingerprint, work)
        elif run.fingerprint != fingerprint:
            raise AlreadyExistsError(f"{key} is being made with a different configuration")
        else:
            operations.follow(run.operation)
        return await self._wait(run)

    async def _wait(self, run: _Run[T]) -> T:
        run.waiters += 1
        try:
            return await asyncio.shield(run.result)
        finally:
            run.waiters -= 1
            if run.waiters == 0:
                _cancel(run)

    def _begin(self, key: str, fingerprint: object, work: Callable[[], Awaitable[T]]) -> _Run[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        run = _Run(fingerprint, future, operations.current())
        self._runs[key] = run
        run.task = self._group.create_task(_lead(run, work), name=key)
        run.task.add_done_callback(lambda _: self._end(key, run))
        return run

    def _end(self, key: str, run: _Run[T]) -> None:
        del self._runs[key]
        if not run.result.done():
            run.result.cancel()


async def _lead(run: _Run[T], work: Callable[[], Awaitable[T]]) -> None:
    try:
        result = await work()
    except Exception as error:  # noqa: BLE001 - it belongs to those who wait
        run.result.set_exception(error)
        run.result.exception()
    else:
        run.result.set_result(result)


def _cancel(run: _Run[T]) -> None:
    if not run.result.done() and run.task is not None:
        run.leaving = True
        run.task.cancel()
