"""The unpack worker's process: started on demand, ended when idle, noticed when it dies."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import store
from store import errors

_MODULE: Final = "store.images.unpack_worker"
_END_GRACE: Final = 10.0


class WorkerProcess:
    """At most one process at a time, used from one event loop.

    Args:
        idle: seconds without anything to do after which the process is ended.
    """

    def __init__(self, *, idle: float) -> None:
        self._idle = idle
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._control: socket.socket | None = None
        self._gone = asyncio.Event()
        self._gone.set()

    def __repr__(self) -> str:
        return f"<WorkerProcess pid={self.pid} users={self._users}>"

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return self._process.pid if self._process is not None else None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the process, once it is there, for the block and some time after it."""
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._timer = asyncio.get_running_loop().call_later(self._idle, self._dismiss)

    async def ready(self) -> None:
        """Start the process if there is none; it loads while the caller does something else.

        Raises:
            UnavailableError: it cannot be started.
        """
        async with self._starting:
            if self._control is None:
                await self._start()

    async def submit(self, request: bytes, fds: Sequence[int]) -> None:
        """Hand a request and descriptors (the caller's to close) to the process.

        Raises:
            UnavailableError: it cannot be started, or does not take the request.
        """
        async with self._starting:
            if self._control is None:
                await self._start()
            try:
                self._send(request, fds)
            except (BrokenPipeError, ConnectionResetError):
                # It died, and the loop has not noticed yet.
                await self._gone.wait()
                await self._start()
                self._send(request, fds)

    async def close(self) -> None:
        """End the process and whatever it is doing; return when it is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._dismiss()
        try:
            async with asyncio.timeout(_END_GRACE):
                await self._gone.wait()
        except TimeoutError:
            if self._process is not None:
                self._process.kill()
            await self._gone.wait()

    def _send(self, request: bytes, fds: Sequence[int]) -> None:
        if self._control is None:
            raise errors.UnavailableError("cannot hand over a layer: the unpack worker ended")
        try:
            socket.send_fds(self._control, [request], fds)
        except BlockingIOError:
            raise errors.UnavailableError(
                f"cannot hand over a layer: the unpack worker {self.pid} takes no more"
            ) from None

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.to_thread(_spawn, theirs)
            except OSError as error:
                ours.close()
                raise errors.UnavailableError(
                    f"cannot start the unpack worker: {error.strerror}"
                ) from error
        ours.settimeout(0)
        self._control = ours
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._gone.clear()
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _dismiss(self) -> None:
        """Let the process end: it does when the control socket closes."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._dismiss()
        if self._process is not None:
            self._process.wait()
            self._process = None
        self._gone.set()


def _spawn(control: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, so that a terminal's signals pass it by."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": str(Path(store.__file__).parents[1]), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
