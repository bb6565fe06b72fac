"""Blocking calls away from the event loop, where one that hangs hurts nobody else.

A stat(2) on a dead NFS mount blocks for ever and cannot be cancelled. So calls run on daemon
threads of which there are always enough: a thread that hangs is left behind, counted by `stuck`,
and neither fills a pool nor stops the daemon from ending.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar, cast

from runtime import operations

T = TypeVar("T")
_Job = Callable[[], None]

_IDLE_SECONDS: Final = 30.0


class _Threads:
    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, job: _Job) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
                start = False
            else:
                start = True
        if start:
            threading.Thread(target=self._work, args=(job,), name="blocking", daemon=True).start()
        else:
            self._jobs.put(job)

    def _work(self, job: _Job) -> None:
        while True:
            job()
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return
                # Somebody counted on this thread in the same moment: its job is on the way.
                job = self._jobs.get()


_threads = _Threads()


class _Call(Generic[T]):
    """One call on its way; `done` is set on its thread."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self.name = name
        self.done = False
        self.result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._call = call
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        try:
            value = self._call()
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            self._deliver(partial(self._fail, error))
        else:
            self._deliver(partial(self._succeed, value))

    def _deliver(self, deliver: Callable[[], None]) -> None:
        self.done = True
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(deliver)

    def _fail(self, error: BaseException) -> None:
        if not self.result.cancelled():
            self.result.set_exception(error)

    def _succeed(self, value: T) -> None:
        if not self.result.cancelled():
            self.result.set_result(value)


_abandoned: list[_Call[object]] = []


async def run(stage: str, subject: str, call: Callable[[], T]) -> T:
    """Return what `call` returns, run on a thread, as stage `stage` of the current operation.

    When the caller is cancelled the call goes on alone, and is listed by `stuck` until it ends: so
    it must only look, not change what the caller would undo.
    """
    started = _start(stage, subject, call)
    try:
        return await started.result
    except asyncio.CancelledError:
        _abandoned.append(cast("_Call[object]", started))
        raise


async def change(stage: str, subject: str, call: Callable[[], T]) -> T:
    """Like `run`, for a call that changes something: cancellation waits for its end.

    So what undoes it never runs beside it. It must not be one that may hang for ever.
    """
    result = _start(stage, subject, call).result
    cancelled: asyncio.CancelledError | None = None
    while not result.done():
        try:
            await asyncio.wait([result])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        result.exception()
        raise cancelled
    return result.result()


def _start(stage: str, subject: str, call: Callable[[], T]) -> _Call[T]:
    operations.stage(stage, subject)
    started = _Call(f"{stage}: {subject}", call)
    _threads.submit(started)
    return started


def stuck() -> tuple[str, ...]:
    """Return the calls nobody waits for any more that have not come back."""
    _abandoned[:] = [call for call in _abandoned if not call.done]
    return tuple(sorted(call.name for call in _abandoned))
