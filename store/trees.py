"""Directory trees: removed, measured and copied whatever is in them.

The trees are what images and containers wrote, so nothing in them is trusted: links are never
followed, and neither depth, names nor modes are in the way. All of this is for a thread.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.files import explained

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONG_PATH: Final = 1500


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all in it; nothing there is no error.

    Links are never followed. Neither depth nor path length matters: directories that are not empty
    are first moved up beside each other, so two descriptors and no recursion are enough. Modes
    that would be in the way are changed. Something mounted inside makes it fail.
    """
    with explained(f"remove {path}"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            _remove_directory(path)
        else:
            path.unlink()


def _remove_directory(path: Path) -> None:
    top = _open_directory(str(path), None)
    try:
        waiting = _empty(top, top)
        while waiting:
            name = waiting.pop()
            inner = _open_directory(name, top)
            try:
                waiting += _empty(inner, top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _open_directory(name: str, parent: int | None) -> int:
    """Open a directory so that its entries can be removed."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    if os.fstat(fd).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(fd, 0o700)
    return fd


def _empty(directory: int, top: int) -> list[str]:
    """Unlink what can be unlinked, move the rest to `top`, and return its names there."""
    moved: list[str] = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
        elif not _rmdir(name, directory):
            moved.append(_move_up(name, directory, top))
    return moved


def _rmdir(name: str, parent: int) -> bool:
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _move_up(name: str, parent: int, top: int) -> str:
    unique = f".removed-{secrets.token_hex(12)}"
    try:
        os.rename(name, unique, src_dir_fd=parent, dst_dir_fd=top)
    except PermissionError:  # to change its `..`, the directory itself must be writable
        os.chmod(name, 0o700, dir_fd=parent)
        os.rename(name, unique, src_dir_fd=parent, dst_dir_fd=top)
    return unique


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a tree takes: allocated bytes and inodes, hard links counted once."""

    bytes: int
    inodes: int


class _Directory:
    """An open directory, closed with the last reference to it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def measure(path: Path) -> Measure:
    """Return what the directory `path` and all in it takes.

    What changes or vanishes meanwhile is counted as it was seen. Paths may be longer than the
    kernel takes at once: far down, they start from a directory that is kept open.
    """
    with explained(f"measure {path}"):
        top = path.lstat()
        blocks, inodes = top.st_blocks, 1
        for found in _below(path):
            blocks += found.st_blocks
            inodes += 1
    return Measure(bytes=blocks * 512, inodes=inodes)


def _below(path: Path) -> Iterator[os.stat_result]:
    """Yield what lstat(2) says of everything below `path`, of hard links once."""
    linked: set[tuple[int, int]] = set()
    waiting = [(_Directory(os.open(path, _DIRECTORY)), ".")]
    while waiting:
        base, relative = waiting.pop()
        directory = _opened(base, relative)
        if directory is None:
            continue
        for name, found in _entries(directory):
            if stat.S_ISDIR(found.st_mode):
                inside = (base, f"{relative}/{name}")
                waiting.append(inside if len(inside[1]) < _LONG_PATH else (directory, name))
            elif found.st_nlink > 1:
                identity = (found.st_dev, found.st_ino)
                if identity in linked:
                    continue
                linked.add(identity)
            yield found


def _opened(base: _Directory, relative: str) -> _Directory | None:
    """Open a directory below `base`; None if it has gone meanwhile."""
    try:
        return _Directory(os.open(relative, _DIRECTORY, dir_fd=base.descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(directory: _Directory) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    with os.scandir(directory.descriptor) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found
