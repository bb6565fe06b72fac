"""Snapshots that are plain copies, for file systems that overlayfs cannot use.

A layer that was unpacked is kept as it came, in overlayfs' form. To prepare a snapshot is to copy
the layers below over each other; what was prepared on a parent is whole, and stays so when it is
committed. Slow and large beside overlayfs, unless the file system shares blocks (Btrfs, XFS).
"""

from pathlib import Path

from store.database import Database
from store.snapshots import Kind, Mount
from store.snapshots.base import DirectorySnapshotter
from store.snapshots.merge import merge
from store.snapshots.table import SnapshotRecord


class NativeSnapshotter(DirectorySnapshotter):
    """A `Snapshotter` that copies.

    Args:
        root: the directory; made if it is not there.
        database: stays open as long as this is used.
    """

    def __init__(self, root: Path, database: Database) -> None:
        super().__init__("native", root, database)

    async def _fill(self, number: int, layers: list[Path]) -> bool:
        for layer in reversed(layers):
            await merge(layer, self._directories.fs(number))
        return bool(layers)

    def _mounts(self, record: SnapshotRecord, layers: list[Path]) -> tuple[Mount, ...]:
        del layers  # they were copied
        mode = "ro" if record.kind is Kind.VIEW else "rw"
        source = str(self._directories.fs(record.number))
        return (Mount(type="bind", source=source, options=("rbind", mode)),)
