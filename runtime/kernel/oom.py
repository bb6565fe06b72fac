"""Whom the kernel has killed for memory, from its log (Documentation/ABI/testing/dev-kmsg).

A cgroup's own counter says the same, as long as there is the cgroup: systemd removes a scope with
everything in it once its last process has ended, often before that end is heard. The log stays,
also while no daemon runs.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG: Final = Path("/dev/kmsg")

_RECORD: Final = 8192
_TICK: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")
# Always written; says whom, by the number in the first PID namespace.
_KILLED: Final = re.compile(r"ut of memory: Killed process (?P<pid>\d+) \(")
# Says where; left out when the kernel has had much to say.
_WHERE: Final = re.compile(r"^oom-kill:.*,task_memcg=(?P<cgroup>[^,]*),task=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Whose death is in question: a process, everything in its cgroup, and since when.

    `since` is in microseconds of the monotonic clock.
    """

    pid: int
    cgroup: str
    since: int

    @classmethod
    def of(cls, pid: int, started: int, cgroup: str) -> "Suspect":
        """Return the suspect for a process that was started `started` ticks after boot.

        Start times count while the machine sleeps, the log's do not.
        """
        asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        return cls(pid=pid, cgroup=cgroup, since=started * _TICK - asleep // 1000)


def killed(records: Iterable[str], suspect: Suspect) -> bool:
    """Tell whether the log's records have the process or something in its cgroup as a victim."""
    for record in records:
        prefix, _, message = record.partition(";")
        stamp = prefix.split(",")[2:3]
        if not stamp or not stamp[0].isdigit() or int(stamp[0]) < suspect.since:
            continue
        if (found := _KILLED.search(message)) and int(found["pid"]) == suspect.pid:
            return True
        if (found := _WHERE.match(message)) and _within(found["cgroup"], suspect.cgroup):
            return True
    return False


def _within(cgroup: str, top: str) -> bool:
    return bool(top) and (cgroup == top or cgroup.startswith(f"{top}/"))


def records(log: Path = LOG) -> Iterator[str]:
    """Yield what the kernel's log holds now, oldest first. Blocking, some milliseconds.

    Raises:
        OSError: the log may not be read.
    """
    descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(descriptor, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # the oldest record was overwritten; the next read goes on
                continue
            if not record:
                return
            yield record.decode(errors="replace")
    finally:
        os.close(descriptor)
