"""A lock that lives as long as a monitor: proof that none is left, or about to be.

A program that has been spawned shows in /proc under its own name only once it has been executed;
after the daemon's death there is a moment in which a monitor cannot be found and is not gone. So
each inherits a locked file (flock(2) belongs to the open file, which outlives us in the monitor).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "lock"


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[int]:
    """Give the descriptor to inherit; our own share of the lock ends with the block."""
    fd = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def held(directory: Path) -> bool:
    """Tell whether a monitor, or what it has started, still holds the directory's lock."""
    try:
        fd = os.open(directory / _NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
