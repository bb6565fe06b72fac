"""Telling a monitor the size of its container's terminal."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from pathlib import Path
from typing import Final

from runtime.io import Size

# What conmon accepts; a line it refuses stays in its buffer and spoils those that follow.
_LEAST: Final = 1
_MOST: Final = 1000
_PAUSE: Final = 0.01


class WindowSize:
    """The FIFO `winsz` in a bundle, which takes lines of `height width`.

    conmon reads up to 199 bytes at once into one buffer for all its FIFOs, so there is never more
    than one line under way: of sizes that come faster than it reads, the last one counts.
    """

    def __init__(self, bundle: Path) -> None:
        self._path = bundle / "winsz"
        self._fd = -1
        self._latest: Size | None = None
        self._retry: asyncio.TimerHandle | None = None

    def set(self, size: Size) -> None:
        """Make this the size, now or as soon as the monitor has read the one before."""
        self._latest = size
        if self._retry is None:
            self._write()

    def close(self) -> None:
        """Let go of the FIFO."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        self._retry = None
        with contextlib.suppress(OSError):  # the monitor is gone, and the terminal with it
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if _waiting(self._fd):
                loop = asyncio.get_running_loop()
                self._retry = loop.call_later(_PAUSE, self._write)
            elif self._latest is not None:
                os.write(self._fd, _line(self._latest))
                self._latest = None


def _waiting(fd: int) -> int:
    """Return how many bytes the reader has not read yet (pipe(7), FIONREAD)."""
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def _line(size: Size) -> bytes:
    height, width = (min(max(number, _LEAST), _MOST) for number in (size.height, size.width))
    return f"{height} {width}\n".encode()
