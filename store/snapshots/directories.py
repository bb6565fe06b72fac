"""The directories of a snapshotter: `<root>/<number>/fs`, and `work` for overlay's own use.

Numbers are never used twice, so a directory that no record names is left over and can go.
"""

import itertools
import os
import stat
from pathlib import Path

from store.files import explained, make_private
from store.snapshots import Usage
from store.trash import Trash
from store.trees import measure, remove_tree


class Directories:
    """What lies below `root`, which is made if it is not there."""

    def __init__(self, root: Path, known: set[int]) -> None:
        self.root = root
        make_private(root)
        self._trash = Trash(root / "trash")
        self._numbers = itertools.count(max({0, *known, *self.present()}) + 1)

    def fs(self, number: int) -> Path:
        """Return the directory that holds the files."""
        return self.root / str(number) / "fs"

    def work(self, number: int) -> Path:
        """Return the directory that overlay needs beside a writable one."""
        return self.root / str(number) / "work"

    def make(self, *, like: Path | None) -> int:
        """Make the directories of a new snapshot and return its number.

        Args:
            like: the directory whose owner and mode the new `fs` gets, because it hides it.
        """
        number = next(self._numbers)
        directory = self.root / str(number)
        with explained(f"make snapshot directory {directory}"):
            try:
                directory.mkdir(mode=0o700)
                self.fs(number).mkdir()
                self.work(number).mkdir(mode=0o711)
                _dress(self.fs(number), like)
            except BaseException:
                self.discard(number)
                raise
        return number

    def discard(self, number: int) -> None:
        """Take the directories of a snapshot out of sight; the disk is freed soon after."""
        self._trash.take(self.root / str(number))

    def present(self) -> set[int]:
        """Return the numbers that have a directory."""
        with explained(f"list {self.root}"):
            return {int(path.name) for path in self.root.iterdir() if path.name.isdecimal()}

    def usage(self, number: int) -> Usage:
        """Return what a snapshot takes; for a thread."""
        found = measure(self.fs(number))
        return Usage(bytes=found.bytes, inodes=found.inodes)

    def allow_remount(self, number: int) -> None:
        """Forget that a `volatile` overlay used the work directory; a mount would be refused.

        https://docs.kernel.org/filesystems/overlayfs.html#volatile-mount
        """
        remove_tree(self.work(number) / "work" / "incompat")

    def empty_trash(self) -> None:
        """Free all that was discarded, also by an earlier process; for a thread."""
        self._trash.empty()


def _dress(directory: Path, like: Path | None) -> None:
    """Give `directory` the owner and mode of `like`; 0755 and our own without one."""
    if like is None:
        directory.chmod(0o755)
        return
    found = like.lstat()
    os.chown(directory, found.st_uid, found.st_gid)
    directory.chmod(stat.S_IMODE(found.st_mode))
