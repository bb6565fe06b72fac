"""Processes by pidfd: a name for one process that no other process can come to have.

A pid and the start time that /proc tells are what a record keeps, and what finds the same process
again after the daemon was away.
"""

import os
from pathlib import Path


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None if there is none.

    See proc_pid_stat(5), field 22.
    """
    fields = stat_fields(pid)
    return None if fields is None else int(fields[19])


def stat_fields(pid: int) -> list[bytes] | None:
    """Return /proc/PID/stat from its third field (the state) on, or None if there is no process.

    The second field is the program's name, which may hold spaces and parentheses (proc(5)).
    """
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return data.rpartition(b")")[2].split()


def open_process(pid: int, started: int) -> int | None:
    """Return a pidfd of the process that has this pid and start time, or None if it is gone.

    The descriptor is close-on-exec, readable once the process has ended, and the caller's.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Checked after the descriptor pinned it: what has that start time now is what was opened.
    if start_time(pid) == started:
        return descriptor
    os.close(descriptor)
    return None
