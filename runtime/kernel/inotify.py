"""inotify(7), as far as noticing needs it: that something changed, not what."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAMES: Final = 0x40 | 0x80 | 0x100 | 0x200
"""Something in a directory got another name, came or went."""

CONTENTS: Final = NAMES | 0x4 | 0x8 | 0x400 | 0x800
"""`NAMES`, or a file was written or changed its mode, or the directory itself went."""

_ONLY_DIRECTORY: Final = 0x01000000
_READ: Final = 1 << 16
_EVENT: Final = struct.Struct("=iIII")
# What the kernel says last of a watch that was taken back.
_IGNORED: Final = 0x8000

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


class Inotify:
    """One inotify instance; `fileno` becomes readable when a watched directory changes.

    Raises:
        OSError: the user has too many.
    """

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self._watches: set[int] = set()

    def fileno(self) -> int:
        """Return the descriptor, which this object owns."""
        return self._fd

    def watch(self, wanted: dict[Path, int]) -> None:
        """Watch these directories for these events and no others; missing ones are left out."""
        watches: set[int] = set()
        for directory, events in wanted.items():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path = os.fsencode(directory)
                number = _libc.inotify_add_watch(self._fd, path, events | _ONLY_DIRECTORY)
                watches.add(_checked(number, f"inotify_add_watch {directory}"))
        for number in self._watches - watches:
            _libc.inotify_rm_watch(self._fd, number)  # fails if the directory is gone: fine
        self._watches = watches

    def drain(self) -> bool:
        """Discard what has been noticed; tell whether there was anything."""
        found = False
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, _READ):
                found |= any(mask != _IGNORED for mask in _masks(data))
        return found

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _masks(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        _, mask, _, length = _EVENT.unpack_from(data, offset)
        yield mask
        offset += _EVENT.size + length


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
