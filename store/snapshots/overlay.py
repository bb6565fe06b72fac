"""Snapshots that overlayfs puts together when they are mounted.

A committed snapshot is the directory of what it adds to its parent, in overlayfs' own form
(whiteouts, opaque marks). Uppers are mounted `volatile`: overlayfs then never syncs, and a
container's files need not survive the machine. `redirect_dir` and `metacopy` are off, so an upper
directory says all there is to say about the changes, and links in a layer lead nowhere.

Options: https://docs.kernel.org/filesystems/overlayfs.html
"""

from pathlib import Path
from typing import Final

from store import errors
from store.database import Database
from store.snapshots import Kind, Mount
from store.snapshots.base import DirectorySnapshotter
from store.snapshots.table import SnapshotRecord

_COMMON: Final = ("index=off", "redirect_dir=nofollow", "metacopy=off")
_SPECIAL: Final = frozenset(",:\\")


class OverlaySnapshotter(DirectorySnapshotter):
    """A `Snapshotter` on overlayfs.

    With many layers the options of a mount have more bytes than a page; `runtime.kernel` shortens
    them as it mounts.

    Args:
        root: the directory, on a file system that can be an upper one; made if it is not there.
        database: stays open as long as this is used.

    Raises:
        InvalidArgumentError: `root` has a character that separates mount options.
    """

    def __init__(self, root: Path, database: Database) -> None:
        if _SPECIAL & set(str(root)):
            raise errors.InvalidArgumentError(
                f"cannot keep snapshots in {root}: mount options have no form for , : and \\"
            )
        super().__init__("overlayfs", root, database)

    async def _fill(self, number: int, layers: list[Path]) -> bool:
        del number, layers  # the mount brings them together
        return False

    def _mounts(self, record: SnapshotRecord, layers: list[Path]) -> tuple[Mount, ...]:
        if record.kind is Kind.VIEW:
            return (_read_only(layers),)
        fs = self._directories.fs(record.number)
        if not layers:
            return (Mount(type="bind", source=str(fs), options=("rbind", "rw")),)
        options = (
            *_COMMON,
            "volatile",
            f"workdir={self._directories.work(record.number)}",
            f"upperdir={fs}",
            _lowerdir(layers),
        )
        return (Mount(type="overlay", source="overlay", options=options),)


def _read_only(lowers: list[Path]) -> Mount:
    """Mount lower directories; overlayfs wants two at least."""
    if len(lowers) == 1:
        return Mount(type="bind", source=str(lowers[0]), options=("rbind", "ro"))
    return Mount(type="overlay", source="overlay", options=("ro", *_COMMON, _lowerdir(lowers)))


def _lowerdir(lowers: list[Path]) -> str:
    return f"lowerdir={':'.join(map(str, lowers))}"
