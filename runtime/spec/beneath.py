"""Opening and making things in a root filesystem whose every link is somebody else's.

openat2(2) with RESOLVE_IN_ROOT resolves a path as if the root filesystem were `/`: `..` and
absolute links stop there, and magic links (/proc/self/fd/7) are refused.
"""

import errno
import os
import posixpath
import stat
from pathlib import Path
from typing import Final

from runtime.kernel import syscalls
from runtime.spec.process import check_working_directory
from runtime.spec.text import absolute
from store.errors import Error, InvalidArgumentError

_RACES: Final = 8
_DIRECTORY_MODE: Final = 0o755
_RESOLVE: Final = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open `path` below the directory `root`; the caller owns the returned descriptor.

    The kernel asks for another try (EAGAIN) when a rename anywhere might have let the path out.

    Raises:
        OSError: as open(2); ELOOP for magic links.
    """
    for _ in range(_RACES):
        try:
            return syscalls.openat2(root, path, flags, resolve=_RESOLVE)
        except BlockingIOError:
            continue
    return syscalls.openat2(root, path, flags, resolve=_RESOLVE)


def _open_root(rootfs: Path) -> int:
    try:
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Error(f"cannot open root filesystem {rootfs}: {error.strerror}") from error


def read_regular_file(rootfs: Path, name: str, limit: int) -> bytes | None:
    """Return the bytes of a file of the image, None if there is none.

    Never waits and never touches a device: the type is looked at before the file is opened for
    reading, and what is opened is what was looked at.

    Raises:
        InvalidArgumentError: it is not a regular file, larger than `limit`, or out of reach.
    """
    root = _open_root(rootfs)
    try:
        return _read_regular(root, name, limit)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return None
        raise InvalidArgumentError(f"cannot read {name} of the image: {error.strerror}") from error
    finally:
        os.close(root)


def _read_regular(root: int, name: str, limit: int) -> bytes:
    found = open_in_root(root, name, os.O_PATH)
    try:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgumentError(f"cannot read {name} of the image: not a regular file")
        readable = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)
    with open(readable, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InvalidArgumentError(f"cannot read {name} of the image: larger than {limit} bytes")
    return content


def ensure_directory_in_root(rootfs: Path, path: str) -> None:
    """Make a container's working directory and its parents where they are missing.

    New ones are root's, mode 0755; what is there keeps its owner and mode.

    Raises:
        InvalidArgumentError: the path is relative, leads through magic links, a dangling link or
            something that is no directory.
    """
    clean = check_working_directory(path)
    root = _open_root(rootfs)
    try:
        _ensure(root, clean)
    except OSError as error:
        raise InvalidArgumentError(
            f"cannot use working_dir {path!r} in the image: {error.strerror}"
        ) from error
    finally:
        os.close(root)


def _ensure(root: int, clean: str) -> None:
    try:
        os.close(open_in_root(root, clean, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        parent = posixpath.dirname(clean)
        _ensure(root, parent)
        directory = open_in_root(root, parent, os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(posixpath.basename(clean), _DIRECTORY_MODE, dir_fd=directory)
        finally:
            os.close(directory)


def find_in_root(rootfs: Path, path: str) -> Path | None:
    """Return where a directory or file of the image really is, None if there is none.

    For sub paths of image volumes: the result is below `rootfs` wherever links in `path` lead, and
    has none itself. It stays true as long as nobody can write to `rootfs`.

    Raises:
        InvalidArgumentError: the path is relative, leads through magic links, or is neither a
            directory nor a regular file.
    """
    clean = absolute("path in the image", path)
    root = _open_root(rootfs)
    try:
        found = open_in_root(root, clean, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidArgumentError(f"cannot use {path!r} of the image: {error.strerror}") from error
    finally:
        os.close(root)
    try:
        mode = os.fstat(found).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise InvalidArgumentError(
                f"cannot use {path!r} of the image: neither a directory nor a regular file"
            )
        return Path(f"/proc/self/fd/{found}").readlink()
    finally:
        os.close(found)


def open_directory_in_root(rootfs: Path, path: str) -> int | None:
    """Return a descriptor (O_PATH) of a directory of the image, None if there is none.

    For an image's VOLUME: what is read through it is in the image, wherever links in
    `path` lead. The caller owns the descriptor.

    Raises:
        InvalidArgumentError: the path is relative, leads through magic links or is no directory.
    """
    clean = absolute("path in the image", path)
    root = _open_root(rootfs)
    try:
        return open_in_root(root, clean, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidArgumentError(f"cannot use {path!r} of the image: {error.strerror}") from error
    finally:
        os.close(root)
