"""Directory trees: removed, measured and copied whatever is in them.

The trees are what images and containers wrote, so nothing in them is trusted: links are never
followed, and neither depth, names nor modes are in the way. All of this is for a thread.
"""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from store.files import explained

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
