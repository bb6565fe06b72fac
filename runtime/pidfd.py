"""Processes that cannot be mistaken: pid and start time, held and awaited through a pidfd.

A pid alone may belong to somebody else by the time it is used. `ProcessId` adds the start time;
a pidfd, once open, stays with its process whatever happens to the number (pidfd_open(2)).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel.processes import open_process, start_time
from store.errors import NotFoundError

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same number.

    `started` is field 22 of /proc/PID/stat, in clock ticks since boot.
    """

    pid: int
    started: int


def identify(pid: int) -> ProcessId:
    """Return the process that has the number now; a zombie counts.

    Raises:
        NotFoundError: there is none.
    """
    started = start_time(pid)
    if started is None:
        raise NotFoundError(f"cannot identify process {pid}: it does not exist")
    return ProcessId(pid=pid, started=started)


def shell_code(code: int) -> int:
    """Return an exit code as shells and CRI know it: 128 and the signal instead of negative."""
    return code if code >= 0 else 128 - code


def open_pidfd(process: ProcessId) -> int | None:
    """Return a pidfd of exactly this process, which the caller closes; None if it is gone."""
    return open_process(process.pid, process.started)


def kill(process: ProcessId) -> None:
    """SIGKILL exactly this process; nothing if it is gone."""
    descriptor = open_pidfd(process)
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


class Process:
    """A process whose end can be awaited by many; reaps it if it is our child.

    Owns `fd` (a pidfd) until the process has ended or `close` is called. Belongs to the running
    event loop.
    """

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd
        self._code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, self._readable)

    @property
    def running(self) -> bool:
        """Whether its end has not been seen."""
        return not self._end.done()

    @property
    def code(self) -> int | None:
        """The exit code of a child that ended, negative for a signal; None for others' children."""
        return self._code

    def send(self, number: int) -> bool:
        """Send a signal; False if the process has ended."""
        if self._fd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

    async def wait(self) -> int | None:
        """Return `code` once it has ended."""
        await asyncio.shield(self._end)
        return self._code

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call back once it has ended; never after `close`."""
        self._end.add_done_callback(lambda end: None if end.cancelled() else callback())

    def close(self) -> None:
        """Stop watching; a child that runs on is then nobody's, so only for processes found."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._end.cancel()

    def _readable(self) -> None:
        with contextlib.suppress(ChildProcessError):  # not our child: whoever is reaps it
            status = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
            if status is not None:
                exited = status.si_code == os.CLD_EXITED
                self._code = status.si_status if exited else -status.si_status
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._end.set_result(None)

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended {self._code}"
        return f"<Process {self.pid} {state}>"


def own_child(pid: int) -> Process:
    """Return a watch on a child nobody has reaped yet, so that the number is still its own.

    Raises:
        OSError: it cannot be watched; it has been killed.
    """
    try:
        return Process(pid, os.pidfd_open(pid))
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def adopt(process: ProcessId) -> Process | None:
    """Return a watch on a process that was started by somebody else; None if it is gone."""
    fd = open_pidfd(process)
    return None if fd is None else Process(process.pid, fd)
