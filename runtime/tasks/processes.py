"""Signals to processes that are known by pid and start time."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from runtime.kernel import oom
from runtime.kernel.processes import stat_fields
from runtime.pidfd import PROC, ProcessId, open_pidfd

_log = logging.getLogger(__name__)


class Processes(Protocol):
    """What tasks do with processes directly, without an OCI runtime."""

    def send(self, process: ProcessId, number: int) -> bool:
        """Send a signal; False if exactly this process is gone. 0 only asks.

        True if a security module forbids it: the process is there. Killing its cgroup is not asked.
        """
        ...

    def where(self, process: ProcessId) -> str:
        """Say in which state it is and where in the kernel it waits."""
        ...

    def killed_for_memory(self, process: ProcessId, cgroup: str) -> bool | None:
        """Tell whether it, or another in its cgroup, was; None where the kernel does not say.

        Blocking, some milliseconds.
        """
        ...


class KernelProcesses:
    """Implements `Processes` by pidfds and /proc."""

    def send(self, process: ProcessId, number: int) -> bool:
        """See `Processes.send`; a zombie is gone."""
        fd = open_pidfd(process)
        if fd is None:
            return False
        try:
            fields = stat_fields(process.pid)
            if fields is None or fields[0] in (b"Z", b"X"):
                return False
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            if number:
                _log.warning("cannot send signal %d to process %d: %s", number, process.pid, error)
        finally:
            os.close(fd)
        return True

    def where(self, process: ProcessId) -> str:
        """See `Processes.where` (/proc/PID/wchan)."""
        fields = stat_fields(process.pid)
        state = fields[0].decode() if fields else "gone"
        return f"process {process.pid} in state {state} at {_wchan(PROC / str(process.pid))}"

    def killed_for_memory(self, process: ProcessId, cgroup: str) -> bool | None:
        """See `Processes.killed_for_memory` (/dev/kmsg)."""
        suspect = oom.Suspect.of(process.pid, process.started, cgroup)
        try:
            return oom.killed(oom.records(), suspect)
        except OSError:
            return None


def _wchan(directory: Path) -> str:
    try:
        name = (directory / "wchan").read_text().strip()
    except OSError:
        name = ""
    return name if name not in ("", "0") else "an unknown place"


def signal_group(pids: Callable[[], Iterable[int]], number: int) -> None:
    """Signal every process that `pids` names, each held while it is seen to be still named.

    Blocking: call from a thread.
    """
    with contextlib.ExitStack() as held:
        fds = {}
        for pid in pids():
            with contextlib.suppress(ProcessLookupError):
                fds[pid] = os.pidfd_open(pid)
                held.callback(os.close, fds[pid])
        for pid in fds.keys() & set(pids()):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fds[pid], number)
