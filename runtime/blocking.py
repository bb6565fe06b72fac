"""Blocking calls away from the event loop, where one that hangs hurts nobody else.

A stat(2) on a dead NFS mount blocks for ever and cannot be cancelled. So calls run on daemon
threads of which there are always enough: a thread that hangs is left behind, counted by `stuck`,
and neither fills a pool nor stops the daemon from ending.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

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
_abandoned: set[str] = set()


async def run(stage: str, subject: str, call: Callable[[], T]) -> T:
    """Return what `call` returns, run on a thread, as stage `stage` of the current operation.

    When the caller is cancelled the call goes on alone, and is listed by `stuck` until it ends.
    """
    operations.stage(stage, subject)
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    name = f"{stage}: {subject}"

    def job() -> None:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            _deliver(loop, result, name, error, None)
        else:
            _deliver(loop, result, name, None, value)

    _threads.submit(job)
    try:
        return await result
    except asyncio.CancelledError:
        _abandoned.add(name)
        raise


def _deliver(
    loop: asyncio.AbstractEventLoop,
    result: "asyncio.Future[T]",
    name: str,
    error: BaseException | None,
    value: T | None,
) -> None:
    def set_result() -> None:
        if result.cancelled():
            _abandoned.discard(name)
        elif error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # None only where T is None

    try:
        loop.call_soon_threadsafe(set_result)
    except RuntimeError:
        return  # the loop has ended; nobody waits


def stuck() -> tuple[str, ...]:
    """Return the calls nobody waits for any more that have not come back."""
    return tuple(sorted(_abandoned))
