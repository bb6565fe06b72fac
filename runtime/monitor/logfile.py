"""The log file that a monitor writes: made safely before, and opened anew for rotation.

The directory is the caller's to check; here nothing but a plain file is ever handed to the monitor,
which opens paths without looking.
"""

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

from store.errors import Error, InvalidArgumentError, UnavailableError

_MODE: Final = 0o640
_REOPEN: Final = b"2 0 0\n"
_PATIENCE: Final = 2.0
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02


def prepare(path: Path) -> None:
    """Make the file, or find it a plain one that nothing else links to.

    Raises:
        InvalidArgumentError: it is a symlink, FIFO, device or directory; its directory is not
            there; or its name has a colon, at which conmon would cut it.
    """
    if ":" in str(path):
        raise InvalidArgumentError(f"cannot use log_path {path}: it contains a colon")
    _require_plain(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, _MODE))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidArgumentError(f"cannot use log_path {path}: {error.strerror}") from error
    except OSError as error:
        raise Error(f"cannot make log_path {path}: {error.strerror}") from error


def _require_plain(path: Path) -> None:
    found = _status(path)
    if found is not None and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
        raise InvalidArgumentError(
            f"cannot use log_path {path}: it exists and is not a plain file of its own"
        )


async def reopen(path: Path, control: Path) -> None:
    """Tell the monitor, through its control FIFO, to begin a new file; return when it has.

    Raises:
        UnavailableError: it does not listen, or does not do it in time.
    """
    before = _status(path)
    temporary = path.with_name(path.name + ".tmp")  # conmon writes here first, following symlinks
    temporary.unlink(missing_ok=True)
    _write(control, path)
    try:
        async with asyncio.timeout(_PATIENCE):
            await _renewed(path, before)
    except TimeoutError as error:
        raise UnavailableError(
            f"cannot reopen log {path}: the monitor did not answer within {_PATIENCE:g} s"
        ) from error


def _write(control: Path, path: Path) -> None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(control, flags)
    except OSError as error:
        raise UnavailableError(
            f"cannot reopen log {path}: the monitor does not listen: {error.strerror}"
        ) from error
    try:
        os.write(fd, _REOPEN)
    except OSError as error:
        raise UnavailableError(f"cannot reopen log {path}: {error.strerror}") from error
    finally:
        os.close(fd)


async def _renewed(path: Path, before: os.stat_result | None) -> None:
    """Poll: rename(2) by the monitor takes well under the first pause."""
    pause = _FIRST_PAUSE
    while True:
        now = _status(path)
        if now is not None and (before is None or now.st_ino != before.st_ino):
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidArgumentError(f"cannot use log_path {path}: {error.strerror}") from error
