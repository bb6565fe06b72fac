"""Undoing what was done: named undos, newest first, that survive cancellation.

grpc.aio cancels a handler when its client's deadline passes; what a handler had built by then must
go all the same. `Rollback` runs its undos in a shielded task of its own with a deadline of its
own; what could not be undone is logged and kept in `failures` for whoever records leftovers.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, ParamSpec, Self

P = ParamSpec("P")
Undo = Callable[[], object]

_LEAST: Final = 1.0

_log = logging.getLogger(__name__)


async def finish(work: Awaitable[None]) -> None:
    """Await `work` to its end even if the caller is cancelled meanwhile; then be cancelled."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_run(work))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.cancelled():
                    raise
                cancelled = error
    if cancelled is not None:
        raise cancelled


async def _run(work: Awaitable[None]) -> None:
    await work


class Rollback:
    """A stack of undos for one operation; `keep` once it has succeeded.

    Args:
        grace: seconds that all undos together may take; after one that hangs each of
            the others still has one.
    """

    def __init__(self, *, grace: float = 10.0) -> None:
        self.failures: list[str] = []
        self._grace = grace
        self._undos: list[tuple[str, Undo]] = []

    def push(self, name: str, undo: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Remember how to undo a step; `undo` may be a plain function or a coroutine function."""
        self._undos.append((name, lambda: undo(*args, **kwargs)))

    def keep(self) -> None:
        """Forget every undo: what was done stays."""
        self._undos.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._undos:
            await finish(self._undo_all())

    async def _undo_all(self) -> None:
        loop = asyncio.get_running_loop()
        deadline, least = loop.time() + self._grace, min(self._grace, _LEAST)
        while self._undos:
            name, undo = self._undos.pop()
            try:
                async with asyncio.timeout_at(max(deadline, loop.time() + least)):
                    result = undo()
                    if inspect.isawaitable(result):
                        await result
            except Exception as error:  # noqa: BLE001 - the first error must not be hidden by its cleanup
                self.failures.append(f"cannot {name}: {error!r}")
                _log.warning("rollback: cannot %s: %r", name, error)
