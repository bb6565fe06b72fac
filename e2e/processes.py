"""What /proc/PID/stat tells of processes on this machine (proc_pid_stat(5))."""

from pathlib import Path


def stat(pid: int) -> list[str]:
    """Return the fields from the third (the state) on; the name before it may hold anything.

    Raises:
        FileNotFoundError: there is no such process.
        ProcessLookupError: it ended meanwhile.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent(pid: int) -> int:
    """Return the process that a process is a child of; raises as `stat`."""
    return int(stat(pid)[1])
