"""Snapshots that overlayfs puts together when they are mounted.

A committed snapshot is the directory of what it adds to its parent, in overlayfs' own form
(whiteouts, opaque marks). Uppers are mounted `volatile`: overlayfs then never syncs, and a
container's files need not survive the machine. `redirect_dir` and `metacopy` are off, so an upper
directory says all there is to say about the changes, and links in a layer lead nowhere.

Options: https://docs.kernel.org/filesystems/overlayfs.html
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from store import errors
from store.database import Database
from store.metadata.records import SqliteRecords
from store.snapshots import Kind, Mount, Snapshot, Usage
from store.snapshots.directories import Directories
from store.snapshots.table import Commit, SnapshotRecord, SnapshotTable
from store.threads import in_thread

_COMMON: Final = ("index=off", "redirect_dir=nofollow", "metacopy=off")
_SPECIAL: Final = frozenset(",:\\")


class OverlaySnapshotter:
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
        records = SqliteRecords(database, f"snapshot.{self.name}", SnapshotRecord)
        self._table = SnapshotTable(records, database.joined)
        self._directories = Directories(root, self._table.numbers())

    def __repr__(self) -> str:
        return f"<OverlaySnapshotter {self.root}: {self._table!r}>"

    @property
    def name(self) -> str:
        """The name that labels, records and clients use, as containerd's."""
        return "overlayfs"

    @property
    def root(self) -> Path:
        """Where it keeps its files."""
        return self._directories.root

    async def prepare(
        self, namespace: str, key: str, parent: str | None, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make an ACTIVE snapshot on a COMMITTED parent, or on nothing."""
        return self._make(namespace, key, parent, Kind.ACTIVE, labels or {})

    async def view(
        self, namespace: str, key: str, parent: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make a read-only VIEW of a COMMITTED parent."""
        return self._make(namespace, key, parent, Kind.VIEW, labels or {})

    async def commit(
        self,
        namespace: str,
        key: str,
        name: str,
        *,
        parent: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Turn the ACTIVE `key` into the COMMITTED `name`, under `parent` if one is given."""
        commit = Commit(namespace=namespace, key=key, name=name, parent=parent, labels=labels or {})
        number = self._table.check_commit(commit).number
        usage = await in_thread(self._directories.usage, number)
        self._table.commit(commit, usage)

    async def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """Return how to mount an ACTIVE or VIEW snapshot; ask anew before mounting it again."""
        record = self._table.open(namespace, key)
        self._directories.allow_remount(record.number)
        return self._mounts(namespace, record)

    async def upper(self, namespace: str, key: str) -> Path:
        """Return the directory an ACTIVE snapshot writes to."""
        return self._directories.fs(self._table.active(namespace, key).number)

    async def layers(self, namespace: str, key: str) -> tuple[Path, ...]:
        """Return the directories of a COMMITTED snapshot and its parents, topmost first."""
        return tuple(self._lowers(namespace, key))

    async def remove(self, namespace: str, key: str) -> None:
        """Remove it; FailedPreconditionError while it is a parent. Disk is freed soon after."""
        self._directories.discard(self._table.remove(namespace, key).number)

    async def stat(self, namespace: str, key: str) -> Snapshot:
        """Return the record."""
        return self._table.stat(namespace, key)

    async def usage(self, namespace: str, key: str) -> Usage:
        """Return what it takes; computed at commit for COMMITTED ones, else walked in a thread."""
        record = self._table.get(namespace, key)
        if record.usage is not None:
            return record.usage
        return await in_thread(self._directories.usage, record.number)

    async def walk(self, namespace: str) -> AsyncIterator[Snapshot]:
        """Yield every snapshot of `namespace`, in the order of keys."""
        for snapshot in self._table.walk(namespace):
            yield snapshot

    async def sweep(self) -> None:
        """Free directories no record names."""
        present = await in_thread(self._directories.present)
        for number in present - self._table.numbers():
            self._directories.discard(number)
        await in_thread(self._directories.empty_trash)

    def _make(
        self, namespace: str, key: str, parent: str | None, kind: Kind, labels: Mapping[str, str]
    ) -> tuple[Mount, ...]:
        self._table.check_new(namespace, key, parent)
        lowers = self._lowers(namespace, parent)
        number = self._directories.make(like=lowers[0] if lowers else None)
        record = SnapshotRecord(kind=kind, number=number, parent=parent, labels=labels)
        try:
            self._table.add(namespace, key, record)
        except BaseException:
            self._directories.discard(number)
            raise
        return self._mounts(namespace, record)

    def _lowers(self, namespace: str, key: str | None) -> list[Path]:
        return [self._directories.fs(layer.number) for layer in self._table.chain(namespace, key)]

    def _mounts(self, namespace: str, record: SnapshotRecord) -> tuple[Mount, ...]:
        lowers = self._lowers(namespace, record.parent)
        fs = self._directories.fs(record.number)
        if record.kind is Kind.VIEW:
            return (_read_only(lowers),)
        if not lowers:
            return (Mount(type="bind", source=str(fs), options=("rbind", "rw")),)
        options = (
            *_COMMON,
            "volatile",
            f"workdir={self._directories.work(record.number)}",
            f"upperdir={fs}",
            _lowerdir(lowers),
        )
        return (Mount(type="overlay", source="overlay", options=options),)


def _read_only(lowers: list[Path]) -> Mount:
    """Mount lower directories; overlayfs wants two at least."""
    if len(lowers) == 1:
        return Mount(type="bind", source=str(lowers[0]), options=("rbind", "ro"))
    return Mount(type="overlay", source="overlay", options=("ro", *_COMMON, _lowerdir(lowers)))


def _lowerdir(lowers: list[Path]) -> str:
    return f"lowerdir={':'.join(map(str, lowers))}"
