"""The second pass over a layer: what needs the layers below it, or more rights than the cage has.

It runs in the daemon, with all of its rights, over trees that an image brought; so every name is
opened by `beneath`, which follows no link.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from store.errors import DataLossError, Error
from store.images import Unfinished
from store.images.layers import beneath, shown
from store.images.layers.apply import kept
from store.images.layers.merged import OPAQUE, Merged, hides
from store.images.layers.tree import is_whiteout

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE: Final = 1 << 24


def complete(unfinished: Unfinished, target: Path, lowers: Sequence[Path]) -> None:
    """Finish the layer in `target`, on `lowers` (topmost first); blocks.

    Raises:
        DataLossError: a hard link's target is nowhere, or not a file.
        Error: the file system refuses.
    """
    visible = () if b"" in unfinished.opaque else lowers
    try:
        with Merged.opened((target,)) as own, Merged.opened(visible) as below:
            completion = _Completion(own.layers[0], below)
            if b"" in unfinished.opaque:
                with Merged.opened(lowers) as hidden:
                    completion.hide_root(hidden.names())
            completion.finish(unfinished)
    except OSError as error:
        raise Error(f"cannot complete the layer in {target}: {error}") from error


class _Completion:
    """One layer's directory and the ones below it."""

    def __init__(self, upper: int, below: Merged) -> None:
        self._upper = upper
        self._below = below

    def finish(self, unfinished: Unfinished) -> None:
        for path in unfinished.opaque:
            self._mark_opaque(path)
        for name, target in unfinished.links:
            try:
                self._link(name, target)
            except DataLossError as error:
                raise DataLossError(f"cannot unpack entry {shown(name)}: {error}") from None
        for path in unfinished.implied:
            self._dress(path)

    def hide_root(self, names: set[bytes]) -> None:
        """Hide `names` in the root one by one: overlayfs does not heed an opaque root."""
        with _unchanged(self._upper):
            for name in names:
                with contextlib.suppress(FileExistsError):
                    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=self._upper)

    def _mark_opaque(self, path: bytes) -> None:
        with self._directory(path) as fd:
            if path and fd is not None:
                os.setxattr(fd, OPAQUE, b"y")

    def _dress(self, path: bytes) -> None:
        """Give a directory that the layer only implied the metadata of the one below."""
        found = self._visible(path)
        if found is None or not stat.S_ISDIR(found[1].st_mode):
            return
        with (
            beneath.opened(found[0], path, beneath.DIRECTORY) as source,
            self._directory(path) as fd,
        ):
            if fd is not None:
                _copy_metadata(source, fd)

    @contextlib.contextmanager
    def _directory(self, path: bytes) -> Iterator[int | None]:
        """Open a directory of the layer for the block; None if a later entry took its place."""
        status = beneath.look(self._upper, path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            yield None
            return
        with beneath.opened(self._upper, path, beneath.DIRECTORY) as fd:
            yield fd

    def _visible(self, path: bytes) -> tuple[int, os.stat_result] | None:
        return None if hides(self._upper, path) else self._below.find(path)

    def _link(self, name: bytes, target: bytes) -> None:
        here = beneath.look(self._upper, target)
        if here is None:
            here = self._copy_up(target)
        if name == target:
            return
        if is_whiteout(here) or not stat.S_ISREG(here.st_mode):
            raise DataLossError(f"a hard link to {shown(target)}, which is no file")
        with (
            self._parent(target) as (source, old),
            self._parent(name) as (parent, new),
            _unchanged(parent),
        ):
            with contextlib.suppress(FileNotFoundError):
                # Another link's target, copied up: the later entry counts.
                os.unlink(new, dir_fd=parent)
            os.link(old, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    @contextlib.contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Open the directory of `path` in the upper for the block."""
        parent, _, base = path.rpartition(b"/")
        with beneath.opened(self._upper, parent, beneath.DIRECTORY) as fd:
            yield fd, base

    def _copy_up(self, path: bytes) -> os.stat_result:
        """Copy a file from below, as overlayfs would on a change, and its directories."""
        found = self._visible(path)
        if found is None or not stat.S_ISREG(found[1].st_mode):
            raise DataLossError(f"a hard link to {shown(path)}, which is no file of the image")
        self._copy_directories(path)
        with (
            beneath.opened(found[0], path, beneath.READ) as source,
            self._parent(path) as (parent, base),
            _unchanged(parent),
        ):
            fd = os.open(base, _NEW, 0o600, dir_fd=parent)
            try:
                _copy_data(source, fd)
                _copy_metadata(source, fd)
                return os.fstat(fd)
            finally:
                os.close(fd)

    def _copy_directories(self, path: bytes) -> None:
        at = path.find(b"/")
        while at >= 0:
            directory = path[:at]
            if beneath.look(self._upper, directory) is None:
                with self._parent(directory) as (parent, base), _unchanged(parent):
                    os.mkdir(base, 0o755, dir_fd=parent)
                self._dress(directory)
            at = path.find(b"/", at + 1)


@contextlib.contextmanager
def _unchanged(directory: int) -> Iterator[None]:
    """Keep the times of a directory over a change in it."""
    before = os.fstat(directory)
    try:
        yield
    finally:
        os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


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
