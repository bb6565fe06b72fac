"""Unpacking layers: the daemon's side of the unpack worker.

The worker process is started when a layer comes and ends some seconds after the last one; it
forks a caged child for each layer. Whatever ends `unpack`, the child is gone by then.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from store import errors
from store.files import explained
from store.images import Consumed, Follow, Unfinished, Unpacked
from store.images import unpack_messages as messages
from store.images.layers import Limits, completion
from store.images.worker import WorkerProcess

_KILL_GRACE: Final = 30.0

_log = logging.getLogger(__name__)


class WorkerUnpacker:
    """The `Unpacker` that works in processes of its own; enter it before use.

    Args:
        limits: what one layer may cost.
        parallel: layers that are unpacked at the same time; default twice the processors.
        idle: seconds after which a worker with nothing to do ends.
    """

    def __init__(
        self, *, limits: Limits | None = None, parallel: int | None = None, idle: float = 10.0
    ) -> None:
        self._limits = limits or Limits()
        self._slots = asyncio.Semaphore(parallel or 2 * (os.cpu_count() or 1))
        self._worker = WorkerProcess(idle=idle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._worker.close()

    async def unpack(
        self, *, blob: Path, follow: Follow, media_type: str, target: Path, report: Consumed
    ) -> Unpacked:
        """Apply the layer in `blob` to `target`; see `Unpacker`."""
        with _opened(blob) as fd, self._worker.busy():
            await self._worker.ready()
            # A slot is for a layer that has something to work on.
            size, complete = await follow()
            first = messages.Available(size, complete=complete)
            async with self._slots:
                job = await self._start(fd, media_type, target)
                return await _Conversation(job, report, self._limits).result(first, follow)

    async def complete(
        self, unfinished: Unfinished, *, target: Path, lowers: tuple[Path, ...]
    ) -> None:
        """Finish a layer whose parents are there; see `Unpacker`."""
        alone = unfinished.opaque or unfinished.hidden or unfinished.links
        if alone or (unfinished.implied and lowers):
            await asyncio.to_thread(completion.complete, unfinished, target, lowers)

    async def _start(self, blob: int, media_type: str, target: Path) -> socket.socket:
        """Return the socket of a new job."""
        request = messages.encode(messages.Unpack(media_type, self._limits))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, _opened(target, os.O_DIRECTORY) as directory:
                await self._worker.submit(request, [theirs.fileno(), blob, directory])
        except BaseException:
            ours.close()
            raise
        ours.settimeout(0)
        return ours


@contextlib.contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    with explained(f"open {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        yield fd
    finally:
        os.close(fd)


class _Conversation:
    """One job, from its first message to the end of its process."""

    def __init__(self, job: socket.socket, report: Consumed, limits: Limits) -> None:
        self._job = job
        self._report = report
        self._limits = limits
        self._failure: errors.Error | None = None
        self._parts: list[bytes] = []
        self._result: Unpacked | None = None

    async def result(self, first: messages.Available, follow: Follow) -> Unpacked:
        """Return what came of the job; its process is gone, also on any other way out."""
        gone = False
        try:
            async with asyncio.TaskGroup() as group:
                feeder = group.create_task(self._feed(first, follow))
                status = await self._listen()
                gone = True
                feeder.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            if not gone:
                await _end(self._job)
            self._job.close()
        return self._outcome(status)

    async def _feed(self, available: messages.Available, follow: Follow) -> None:
        """Say what may be read, as it grows."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._job, messages.encode(available))
            while not available.complete:
                size, complete = await follow()
                available = messages.Available(size, complete=complete)
                await loop.sock_sendall(self._job, messages.encode(available))
        except (BrokenPipeError, ConnectionResetError):
            # The listener says why nobody wants to know.
            return

    async def _listen(self) -> int:
        """Take what the job says until its process is gone; return its status."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._job, messages.LARGEST)
            except ConnectionResetError:
                # The other side closed with something unread; what it said before is still there.
                continue
            if not data:
                raise errors.UnavailableError("cannot unpack the layer: the unpack worker is gone")
            match messages.decode_event(data):
                case messages.Advanced(size):
                    self._report(size)
                case messages.Part(part, last):
                    self._take(part, last=last)
                case messages.Failed(kind, text):
                    self._failure = _error(kind, text)
                case messages.Exited(status):
                    return status

    def _take(self, part: bytes, *, last: bool) -> None:
        self._parts.append(part)
        if last:
            self._result = messages.decode_result(b"".join(self._parts))

    def _outcome(self, status: int) -> Unpacked:
        if self._failure is not None:
            raise self._failure
        if self._result is not None:
            return self._result
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            raise errors.ResourceExhaustedError(
                f"cannot unpack the layer: more than {self._limits.seconds} s of processor time"
            )
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            raise errors.UnavailableError(
                f"cannot unpack the layer: its process was ended by {name}"
            )
        raise errors.Error(
            f"cannot unpack the layer: its process ended with {os.waitstatus_to_exitcode(status)}"
        )


def _error(kind: str, text: str) -> errors.Error:
    found = getattr(errors, kind, errors.Error)
    known = isinstance(found, type) and issubclass(found, errors.Error)
    return found(text) if known else errors.Error(text)


async def _end(job: socket.socket) -> None:
    """Have the worker kill the job's process, and wait for that even if cancelled meanwhile."""
    waiting = asyncio.get_running_loop().run_in_executor(None, _drain, job)
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    if isinstance(waiting.exception(), TimeoutError):
        _log.error("unpack: a cancelled layer's process did not end in %s s", _KILL_GRACE)
    if cancelled is not None:
        raise cancelled


def _drain(job: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Nobody there: then there is nothing to shut.
        job.shutdown(socket.SHUT_WR)
    job.settimeout(_KILL_GRACE)
    said = b"."
    while said:
        with contextlib.suppress(ConnectionResetError):
            said = job.recv(messages.LARGEST)
