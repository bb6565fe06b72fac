"""Directories that a layer only implied, and that are links in the layers below.

`lib/x` in a layer on an image where `lib` leads to `usr/lib` means `usr/lib/x`. Unpacked by itself
the layer got a directory `lib`, which would hide the link. So its content is moved to where the
link leads, and the link shows again.
"""

import os
import stat
from collections.abc import Iterable

from store.errors import DataLossError
from store.images.layers import beneath, shown
from store.images.layers.merged import Merged
from store.images.layers.upper import Upper


class Moves:
    """What was moved in one layer; `merged` are directories that were there already."""

    def __init__(self, upper: Upper) -> None:
        self.merged: set[bytes] = set()
        self._upper = upper
        self._whole = Merged([upper.fd, *upper.below.layers])
        self._moved: list[tuple[bytes, bytes]] = []

    def follow(self, implied: Iterable[bytes]) -> None:
        """Move each of `implied` that is a link to a directory below.

        Raises:
            DataLossError: the layer has a file at both places where only one can be.
        """
        for path in sorted(implied):
            here = self.now(path)
            there = self._leads_to(here)
            if there is not None:
                self._upper.make_parents(there + b"/")
                self._merge(here, there)
                self._moved.append((path, there))

    def now(self, path: bytes) -> bytes:
        """Return where `path` of the archive is by now."""
        for old, new in reversed(self._moved):
            if path == old:
                return new
            if path.startswith(old + b"/"):
                return new + path[len(old) :]
        return path

    def _leads_to(self, path: bytes) -> bytes | None:
        """Return the directory that a link at `path` below leads to, if it is one."""
        found = self._upper.visible_below(path)
        if found is None or not stat.S_ISLNK(found.status.st_mode):
            return None
        if not _is_directory(self._upper.fd, path):
            return None
        text = self._upper.below.link(found, path)
        there = self._whole.resolve(path.rpartition(b"/")[0], text)
        if not there or (there + b"/").startswith(path + b"/"):
            return None
        end = self._whole.find(there)
        return there if end is not None and stat.S_ISDIR(end.status.st_mode) else None

    def _merge(self, here: bytes, there: bytes) -> None:
        """Move what is in the directory `here` to the directory `there`."""
        with beneath.opened(self._upper.fd, here, beneath.DIRECTORY) as fd:
            names = [os.fsencode(name) for name in os.listdir(fd)]
        for name in names:
            self._move(here + b"/" + name, there + b"/" + name)
        with self._upper.parent(here) as (parent, base):
            os.rmdir(base, dir_fd=parent)

    def _move(self, here: bytes, there: bytes) -> None:
        both = _is_directory(self._upper.fd, here), _is_directory(self._upper.fd, there)
        if all(both):
            self.merged.add(there)
            self._merge(here, there)
            return
        if any(both) and beneath.look(self._upper.fd, there) is not None:
            raise DataLossError(f"cannot unpack entry {shown(here)}: {shown(there)} is in its way")
        with (
            self._upper.parent(here) as (source, old),
            self._upper.parent(there) as (parent, new),
        ):
            os.rename(old, new, src_dir_fd=source, dst_dir_fd=parent)


def _is_directory(layer: int, path: bytes) -> bool:
    status = beneath.look(layer, path)
    return status is not None and stat.S_ISDIR(status.st_mode)
