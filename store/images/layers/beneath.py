"""Opening names below a directory, where no symbolic link is ever followed: openat2(2).

For trees that images brought: a name that a link would lead elsewhere is an error, not a way out.
"""

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYS_OPENAT2: Final = 437
_RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_RETRIES: Final = 10
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})

LOOK: Final = os.O_PATH | os.O_NOFOLLOW
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def open_beneath(directory: int, path: bytes, flags: int) -> int:
    """Return a descriptor of `path` below `directory` (empty: of the directory itself).

    Raises:
        OSError: as open(2); ELOOP if a symbolic link is on the way.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE)
    for _ in range(_RETRIES):
        fd: int = _LIBC.syscall(_SYS_OPENAT2, directory, path or b".", how, len(how))
        if fd >= 0:
            return fd
        # The kernel asks to try again when a rename went on at the same time.
        if ctypes.get_errno() != errno.EAGAIN:
            break
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


@contextlib.contextmanager
def opened(directory: int, path: bytes, flags: int) -> Iterator[int]:
    """Keep `path` below `directory` open for the block; OSError as `open_beneath`."""
    fd = open_beneath(directory, path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def look(directory: int, path: bytes) -> os.stat_result | None:
    """Return what `path` below `directory` is, None if nothing or beyond a symbolic link."""
    try:
        with opened(directory, path, LOOK) as fd:
            return os.fstat(fd)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
