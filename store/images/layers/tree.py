"""A layer's directory while entries are put into it.

Whatever stands where an entry goes makes way, as if entries were applied one by one to a real
root. Symbolic links on the way to an entry are followed, which is right only where the root is
the directory itself (`store.images.cage`). Directories are made closed and bare, and get owner,
mode and attributes when all is in them: nothing inherits anything meanwhile.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from store import trees
from store.errors import DataLossError
from store.images.layers import shown

T = TypeVar("T")

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WHITEOUT_DEVICE: Final = os.makedev(0, 0)


class Tree:
    """The directory and what is known of it.

    `implied` are directories that no entry described, `opaque` those that hide what is below, and
    `hidden` are whiteouts; some of each may have gone again. `inodes` and `directories` count what
    was made.

    Args:
        root: put before every path: empty when the working directory is the layer's root.
    """

    def __init__(self, root: bytes = b"") -> None:
        self._root = root
        # Paths that are known to lead to directories.
        self._directories = {b""}
        self.implied = {b""}
        self.opaque: set[bytes] = set()
        self.hidden: set[bytes] = set()
        self.inodes = 0
        self.directories = 0

    def path(self, name: bytes) -> bytes:
        """Return how the system calls reach `name`."""
        return self._root + name or b"."

    def file(self, name: bytes, mode: int) -> int:
        """Return a new, empty, writable file; the caller closes it."""
        return self._make(name, lambda path: os.open(path, _NEW, mode))

    def symlink(self, name: bytes, text: bytes) -> None:
        """Make a symbolic link."""
        self._make(name, lambda path: os.symlink(text, path))

    def node(self, name: bytes, mode: int, device: int = 0) -> None:
        """Make a device node or FIFO; `mode` has its type."""
        self._make(name, lambda path: os.mknod(path, mode, device))

    def link(self, name: bytes, target: bytes) -> bool:
        """Make another name of `target`; False if there is none in this layer.

        Raises:
            DataLossError: the target is a symbolic link or a directory.
        """
        found = self._look(target)
        if found is None or is_whiteout(found):
            self._room(name)
            return False
        if stat.S_ISLNK(found.st_mode) or stat.S_ISDIR(found.st_mode):
            raise DataLossError(f"a hard link to {shown(target)}, which is no file")
        if name == target:
            return True
        self._make(name, lambda path: os.link(self.path(target), path, follow_symlinks=False))
        self.inodes -= 1
        return True

    def directory(self, name: bytes) -> None:
        """Make a directory, or find it there; it counts as described by the layer."""
        if name and name not in self._directories:
            self._parents(name)
            self._open_directory(name)
        self.implied.discard(name)

    def hide(self, name: bytes) -> None:
        """Hide what the layers below have at `name`, and nothing that this layer brought."""
        self._parents(name)
        found = self._look(name)
        if found is None:
            self.node(name, stat.S_IFCHR, _WHITEOUT_DEVICE)
            self.hidden.add(name)
        elif stat.S_ISDIR(found.st_mode):
            self.opaque.add(name)
            # The one below is gone for good, so this one is not to be like it.
            self.implied.discard(name)

    def hide_all_in(self, name: bytes) -> None:
        """Hide all that the layers below have in the directory `name`."""
        if name and name not in self._directories:
            self._parents(name + b"/")
            if not stat.S_ISDIR(os.lstat(self._root + name).st_mode):
                raise DataLossError(f"{shown(name)} is no directory")
        self.opaque.add(name)

    def _make(self, name: bytes, make: Callable[[bytes], T]) -> T:
        if not name:
            raise DataLossError("the root of a layer can only be a directory")
        parent = name.rpartition(b"/")[0]
        if parent not in self._directories:
            self._parents(name)
        self.inodes += 1
        path = self._root + name
        try:
            return make(path)
        except FileExistsError:
            self._clear(name)
            return make(path)

    def _room(self, name: bytes) -> None:
        """Leave `name` free, in a directory that exists."""
        self._parents(name)
        if self._look(name) is not None:
            self._clear(name)

    def _look(self, name: bytes) -> os.stat_result | None:
        try:
            return os.lstat(self._root + name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _parents(self, name: bytes) -> None:
        """Make the directories that lead to `name`."""
        at = name.find(b"/")
        while at >= 0:
            parent = name[:at]
            if parent not in self._directories:
                self._imply(parent)
            at = name.find(b"/", at + 1)

    def _imply(self, name: bytes) -> None:
        found = self._look(name)
        if found is None or is_whiteout(found):
            self._open_directory(name, mode=0o755)
            if found is None:
                self.implied.add(name)
        elif stat.S_ISDIR(found.st_mode):
            self._directories.add(name)
        elif not os.path.isdir(self._root + name):
            raise DataLossError(f"{shown(name)} is in its way")

    def _open_directory(self, name: bytes, mode: int = 0o700) -> None:
        path = self._root + name
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                self._clear(name)
                # What stood here hid the directories of this name below.
                self.opaque.add(name)
                self._open_directory(name, mode)
        else:
            self.inodes += 1
            self.directories += 1
        self._directories.add(name)

    def _clear(self, name: bytes) -> None:
        """Remove what is at `name`; what was below it still counts as made."""
        path = self._root + name
        if stat.S_ISDIR(os.lstat(path).st_mode):
            # Cheaper to look again than to search for what was below.
            self._directories = {b""}
        trees.remove_tree(Path(os.fsdecode(path)))
        self.inodes -= 1


def is_whiteout(found: os.stat_result) -> bool:
    """Whether an inode is how overlayfs writes "nothing here"."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _WHITEOUT_DEVICE
