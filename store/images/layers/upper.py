"""A layer's directory after unpacking, with what lies below: what the second pass does to it.

Every name is opened by `beneath`. A change keeps the times of the directory it is made in: the
layer has said what they are.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from store.errors import DataLossError
from store.images.layers import beneath, shown
from store.images.layers.apply import kept
from store.images.layers.merged import OPAQUE, Found, Merged, hides
from store.images.layers.tree import is_whiteout

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE: Final = 1 << 24


class Upper:
    """One layer's directory `fd`, on the layers `below`; both are the caller's to close."""

    def __init__(self, fd: int, below: Merged) -> None:
        self.fd = fd
        self.below = below

    def visible_below(self, path: bytes) -> Found | None:
        """Return what the layers below show at `path` through this one."""
        return None if hides(self.fd, path) else self.below.find(path)

    @contextlib.contextmanager
    def parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Open the directory that `path` is in, keep its times, and give the last component."""
        directory, _, base = path.rpartition(b"/")
        with beneath.opened(self.fd, directory, beneath.DIRECTORY) as fd:
            before = os.fstat(fd)
            try:
                yield fd, base
            finally:
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))

    def mark_opaque(self, path: bytes) -> None:
        """Hide what is below in the directory `path`, if this layer still has it."""
        with self._directory(path) as fd:
            if fd is not None:
                os.setxattr(fd, OPAQUE, b"y")

    def hide(self, path: bytes) -> None:
        """Make a whiteout at `path`, unless something is there."""
        with self.parent(path) as (directory, base), contextlib.suppress(FileExistsError):
            os.mknod(base, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)

    def drop_needless_whiteout(self, path: bytes) -> None:
        """Remove a whiteout that hides nothing.

        In a directory that overlayfs does not have to merge it would show as a name that nobody
        can look up.
        """
        status = beneath.look(self.fd, path)
        if status is not None and is_whiteout(status) and self.visible_below(path) is None:
            with self.parent(path) as (directory, base):
                os.unlink(base, dir_fd=directory)

    def dress(self, path: bytes) -> None:
        """Give a directory the metadata of the one below, if there is one."""
        found = self.visible_below(path)
        if found is None or not stat.S_ISDIR(found.status.st_mode):
            return
        with (
            beneath.opened(found.layer, path, beneath.DIRECTORY) as source,
            self._directory(path) as fd,
        ):
            if fd is not None:
                _copy_metadata(source, fd)

    def make_parents(self, path: bytes) -> None:
        """Make the directories that lead to `path`, like those below."""
        at = path.find(b"/")
        while at >= 0:
            directory = path[:at]
            if beneath.look(self.fd, directory) is None:
                with self.parent(directory) as (parent, base):
                    os.mkdir(base, 0o755, dir_fd=parent)
                self.dress(directory)
            at = path.find(b"/", at + 1)

    def copy_up(self, path: bytes) -> os.stat_result:
        """Copy a file from below with its directories, as overlayfs would on a change.

        Raises:
            DataLossError: there is no file at `path` below.
        """
        found = self.visible_below(path)
        if found is None or not stat.S_ISREG(found.status.st_mode):
            raise DataLossError(f"a hard link to {shown(path)}, which is no file of the image")
        self.make_parents(path)
        with (
            beneath.opened(found.layer, path, beneath.READ) as source,
            self.parent(path) as (directory, base),
        ):
            fd = os.open(base, _NEW, 0o600, dir_fd=directory)
            try:
                _copy_data(source, fd)
                _copy_metadata(source, fd)
                return os.fstat(fd)
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def _directory(self, path: bytes) -> Iterator[int | None]:
        """Open a directory for the block; None if a later entry took its place."""
        status = beneath.look(self.fd, path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            yield None
            return
        with beneath.opened(self.fd, path, beneath.DIRECTORY) as fd:
            yield fd


def _copy_data(source: int, fd: int) -> None:
    offset, size = 0, os.fstat(source).st_size
    while offset < size:
        copied = os.sendfile(fd, source, offset, min(size - offset, _PIECE))
        if not copied:
            raise DataLossError("a hard link to a file that is cut short")
        offset += copied


def _copy_metadata(source: int, fd: int) -> None:
    status = os.fstat(source)
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if kept(os.fsencode(name)):
            os.setxattr(fd, name, os.getxattr(source, name))
    os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
