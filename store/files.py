"""Files as the store uses them: whole or not at all, and safe to name.

Everything here blocks, for the time that the call on the file system takes; what may take more
than a millisecond (`sync_filesystem`) is for a thread. Errors are `store.errors`
with the path in the text.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from store import errors

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_COMPONENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

_KINDS: Final[dict[int, type[errors.Error]]] = {
    errno.ENOENT: errors.NotFoundError,
    errno.EEXIST: errors.AlreadyExistsError,
    errno.EACCES: errors.PermissionDeniedError,
    errno.EPERM: errors.PermissionDeniedError,
    errno.ENOSPC: errors.ResourceExhaustedError,
    errno.EDQUOT: errors.ResourceExhaustedError,
    errno.EMFILE: errors.ResourceExhaustedError,
    errno.ENFILE: errors.ResourceExhaustedError,
    errno.ENOMEM: errors.ResourceExhaustedError,
    errno.EROFS: errors.UnavailableError,
}


@contextlib.contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an `OSError` in the block into the nearest `store.errors` class: `cannot ACTION: why`.

    Args:
        action: what was tried, with the path, such as `write /var/lib/ferry/x`.
    """
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, errors.Error)
        raise kind(f"cannot {action}: {_reason(error, action)}") from error


def _reason(error: OSError, action: str) -> str:
    """Say what failed, and on which file if `action` does not name it."""
    reason = error.strerror or str(error)
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return f"{reason}: {name}" if name and name not in action else reason


def component(what: str, text: str, *, limit: int = 255) -> str:
    """Return `text` if it can be one component of a path that nobody can mistake.

    Letters, digits, `.`, `_` and `-`, with a letter or digit at both ends.

    Args:
        what: the name of the field, for the error.
        text: the candidate.
        limit: the most characters it may have.

    Raises:
        InvalidArgumentError: it is empty, too long or has another character.
    """
    if len(text) > limit or _COMPONENT.fullmatch(text) is None:
        raise errors.InvalidArgumentError(
            f"cannot use {what} {text[:100]!r}: want 1 to {limit} letters, digits, '.', '_' or '-'"
        )
    return text


def make_private(directory: Path) -> None:
    """Make a directory, and what is missing of the path to it, for the owner alone (0700)."""
    with explained(f"make directory {directory}"):
        for path in (*reversed(directory.parents), directory):
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)


def atomic_write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Make `path` hold `data`: a reader sees the old bytes or the new ones, never a part.

    Nothing is forced to the disk: this survives a crash of the daemon, not of the machine.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")
    with explained(f"write {path}"):
        try:
            _write_new(temporary, data, mode)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _write_new(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the descriptor's position; `OSError` as write(2) gives it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_filesystem(path: Path) -> None:
    """Return when all that was written to the file system of `path` is on the disk: syncfs(2)."""
    with explained(f"sync the file system of {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _LIBC.syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(fd)


class RootLock:
    """The right to be the only daemon on a root directory, held until `release` or death.

    The file `lock` in the root stays behind; what counts is the flock(2) on it, which the kernel
    drops with the process. It holds the pid of its last owner, for the message others get.

    Raises:
        FailedPreconditionError: somebody else holds it; the message names the process.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "lock"
        make_private(root)
        with explained(f"open {self._path}"):
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(root)
        except BaseException:
            os.close(self._fd)
            raise

    def _acquire(self, root: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise errors.FailedPreconditionError(
                f"cannot use {root}: the daemon with pid {holder} is using it; a second one needs"
                " directories of its own"
            ) from None
        with explained(f"write {self._path}"):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
