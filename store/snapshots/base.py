"""What snapshotters that keep numbered directories and records have in common."""

import abc
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from store.database import Database
from store.metadata.records import SqliteRecords
from store.snapshots import Kind, Mount, Snapshot, Usage
from store.snapshots.directories import Directories
from store.snapshots.mounted import mounted
from store.snapshots.table import Commit, SnapshotRecord, SnapshotTable
from store.threads import in_thread


class DirectorySnapshotter(abc.ABC):
    """A `Snapshotter` but for what `_fill` and `_mounts` say.

    Args:
        name: the name that labels, records and clients use.
        root: the directory; made if it is not there.
        database: stays open as long as this is used.
    """

    def __init__(self, name: str, root: Path, database: Database) -> None:
        records = SqliteRecords(database, f"snapshot.{name}", SnapshotRecord)
        self._name = name
        self._table = SnapshotTable(records, database.joined)
        self._directories = Directories(root, self._table.numbers())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.root}: {self._table!r}>"

    @abc.abstractmethod
    async def _fill(self, number: int, layers: list[Path]) -> bool:
        """Bring what `layers` (topmost first) hold into a new snapshot.

        Returns whether its directory is whole now: whether it needs no layer below it.
        """

    @abc.abstractmethod
    def _mounts(self, record: SnapshotRecord, layers: list[Path]) -> tuple[Mount, ...]:
        """Return how to mount a snapshot that stands on `layers`, topmost first."""

    @property
    def name(self) -> str:
        """The name that labels, records and clients use."""
        return self._name

    @property
    def root(self) -> Path:
        """Where it keeps its files."""
        return self._directories.root

    async def prepare(
        self, namespace: str, key: str, parent: str | None, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make an ACTIVE snapshot on a COMMITTED parent, or on nothing."""
        return await self._make(namespace, key, parent, Kind.ACTIVE, labels or {})

    async def view(
        self, namespace: str, key: str, parent: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make a read-only VIEW of a COMMITTED parent."""
        return await self._make(namespace, key, parent, Kind.VIEW, labels or {})

    async def commit(
        self,
        namespace: str,
        key: str,
        name: str,
        *,
        parent: str | None = None,
        labels: Mapping[str, str] | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Turn the ACTIVE `key` into the COMMITTED `name`, under `parent` if one is given."""
        commit = Commit(namespace=namespace, key=key, name=name, parent=parent, labels=labels or {})
        number = self._table.check_commit(commit).number
        if usage is None:
            usage = await in_thread(self._directories.usage, number)
        self._table.commit(commit, usage)

    async def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """Return how to mount an ACTIVE or VIEW snapshot; ask anew before mounting it again."""
        record = self._table.open(namespace, key)
        self._directories.allow_remount(record.number)
        return self._mounts(record, self._layers(namespace, record.parent))

    async def upper(self, namespace: str, key: str) -> Path:
        """Return the directory an ACTIVE snapshot writes to."""
        return self._directories.fs(self._table.active(namespace, key).number)

    async def layers(self, namespace: str, key: str) -> tuple[Path, ...]:
        """Return the directories of a COMMITTED snapshot and its parents, topmost first."""
        return tuple(self._layers(namespace, key))

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

    async def mounted(self) -> frozenset[tuple[str, str]]:
        """Return (namespace, key) of each snapshot that is part of a mount of this process."""
        numbers = await in_thread(mounted, self.root)
        return frozenset(self._table.keys(numbers)) if numbers else frozenset()

    async def sweep(self) -> None:
        """Free directories no record names, but for mounted ones: a record may have been lost."""
        present = await in_thread(self._directories.present)
        spared = await in_thread(mounted, self.root)
        for number in present - spared - self._table.numbers():
            self._directories.discard(number)
        await in_thread(self._directories.empty_trash)

    async def _make(
        self, namespace: str, key: str, parent: str | None, kind: Kind, labels: Mapping[str, str]
    ) -> tuple[Mount, ...]:
        self._table.check_new(namespace, key, parent)
        layers = self._layers(namespace, parent)
        number = self._directories.make(like=layers[0] if layers else None)
        record = SnapshotRecord(kind=kind, number=number, parent=parent, labels=labels)
        try:
            self._table.add(namespace, key, record)
        except BaseException:
            self._directories.discard(number)
            raise
        await self._filled(namespace, key, number, layers)
        return self._mounts(record, layers)

    async def _filled(self, namespace: str, key: str, number: int, layers: list[Path]) -> None:
        """Fill a snapshot that is recorded already, so that its parent stays meanwhile."""
        try:
            if await self._fill(number, layers):
                self._table.note_whole(namespace, key)
        except BaseException:
            await self.remove(namespace, key)
            raise

    def _layers(self, namespace: str, key: str | None) -> list[Path]:
        found: list[Path] = []
        for layer in self._table.chain(namespace, key):
            found.append(self._directories.fs(layer.number))
            if layer.whole:
                break
        return found
