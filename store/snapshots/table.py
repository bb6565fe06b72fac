"""The records of snapshots and the rules between them; knows nothing of directories."""

import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Final

from store import errors
from store.metadata import Records
from store.metadata.labels import checked, merged
from store.snapshots import Kind, Snapshot, Usage

_KEY_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot as it is stored; its id is the key.

    `number` names its directory and never changes. `usage` is set once it is committed. `whole`
    says that the directory holds everything, not only what differs from the parent. Times are Unix
    nanoseconds.
    """

    kind: Kind
    number: int
    parent: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    whole: bool = False
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What `SnapshotTable.commit` does: `key` becomes `name`, perhaps under `parent`."""

    namespace: str
    key: str
    name: str
    parent: str | None
    labels: Mapping[str, str]


class SnapshotTable:
    """Snapshots of all namespaces of one snapshotter.

    Args:
        records: where they are kept.
        transaction: makes changes of several records one.
    """

    def __init__(
        self,
        records: Records[SnapshotRecord],
        transaction: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._records = records
        self._transaction = transaction

    def __repr__(self) -> str:
        return repr(self._records)

    def get(self, namespace: str, key: str) -> SnapshotRecord:
        """Return the record, or raise NotFoundError."""
        return self._records.get(namespace, key)

    def open(self, namespace: str, key: str) -> SnapshotRecord:
        """Return an ACTIVE or VIEW snapshot; FailedPreconditionError for a COMMITTED one."""
        record = self.get(namespace, key)
        if record.kind is Kind.COMMITTED:
            raise errors.FailedPreconditionError(f"snapshot {key!r} is committed: nothing to mount")
        return record

    def active(self, namespace: str, key: str) -> SnapshotRecord:
        """Return an ACTIVE snapshot; FailedPreconditionError for another."""
        return self._of_kind(namespace, key, Kind.ACTIVE)

    def committed(self, namespace: str, key: str) -> SnapshotRecord:
        """Return a COMMITTED snapshot; FailedPreconditionError for another."""
        return self._of_kind(namespace, key, Kind.COMMITTED)

    def chain(self, namespace: str, key: str | None) -> list[SnapshotRecord]:
        """Return a COMMITTED snapshot and its parents, topmost first; nothing for None."""
        found: list[SnapshotRecord] = []
        while key is not None:
            found.append(self.committed(namespace, key))
            key = found[-1].parent
        return found

    def check_new(self, namespace: str, key: str, parent: str | None) -> None:
        """Raise if `key` cannot be made on `parent`."""
        if not key or len(key) > _KEY_LIMIT or "\0" in key:
            raise errors.InvalidArgumentError(
                f"cannot use snapshot key {key[:100]!r}: want 1 to {_KEY_LIMIT} characters"
            )
        if self._records.find(namespace, key) is not None:
            raise errors.AlreadyExistsError(f"snapshot {key!r} exists in namespace {namespace}")
        if parent is not None:
            self.committed(namespace, parent)

    def add(self, namespace: str, key: str, record: SnapshotRecord) -> None:
        """Store a new snapshot that `check_new` has let through, with times and labels checked."""
        now = time.time_ns()
        labels = checked(record.labels)
        self._records.add(
            namespace, key, replace(record, labels=labels, created_at=now, updated_at=now)
        )

    def note_whole(self, namespace: str, key: str) -> None:
        """Record that the directory of a snapshot holds everything."""
        self._records.update(namespace, key, lambda old: replace(old, whole=True))

    def check_commit(self, commit: Commit) -> SnapshotRecord:
        """Return the ACTIVE snapshot to commit, or raise as `Snapshotter.commit` says."""
        record = self.active(commit.namespace, commit.key)
        if commit.parent is not None and record.parent not in (None, commit.parent):
            raise errors.FailedPreconditionError(
                f"cannot commit {commit.key!r} under {commit.parent!r}: "
                f"it was prepared on {record.parent!r}"
            )
        self.check_new(commit.namespace, commit.name, commit.parent)
        return record

    def commit(self, commit: Commit, usage: Usage) -> None:
        """Turn one record into the other, after checking again."""
        old = self.check_commit(commit)
        new = replace(
            old,
            kind=Kind.COMMITTED,
            parent=old.parent if commit.parent is None else commit.parent,
            labels=merged(old.labels, commit.labels),
            usage=usage,
            updated_at=time.time_ns(),
        )
        with self._transaction():
            self._records.delete(commit.namespace, commit.key)
            self._records.add(commit.namespace, commit.name, new)

    def remove(self, namespace: str, key: str) -> SnapshotRecord:
        """Forget a snapshot and return it; FailedPreconditionError while it is a parent."""
        record = self.get(namespace, key)
        if record.kind is Kind.COMMITTED:
            for _, child, other in self._records.walk(namespace):
                if other.parent == key:
                    raise errors.FailedPreconditionError(
                        f"cannot remove snapshot {key!r}: it is the parent of {child!r}"
                    )
        self._records.delete(namespace, key)
        return record

    def stat(self, namespace: str, key: str) -> Snapshot:
        """Return what the contract shows of a snapshot."""
        return _shown(namespace, key, self.get(namespace, key))

    def walk(self, namespace: str) -> Iterator[Snapshot]:
        """Yield every snapshot of `namespace`, in the order of keys."""
        for _, key, record in self._records.walk(namespace):
            yield _shown(namespace, key, record)

    def keys(self, numbers: AbstractSet[int]) -> Iterator[tuple[str, str]]:
        """Yield (namespace, key) of the snapshots that have one of `numbers`."""
        for namespace, key, record in self._records.walk():
            if record.number in numbers:
                yield namespace, key

    def numbers(self) -> set[int]:
        """Return the numbers of all directories that a record names."""
        return {record.number for _, _, record in self._records.walk()}

    def _of_kind(self, namespace: str, key: str, kind: Kind) -> SnapshotRecord:
        record = self.get(namespace, key)
        if record.kind is not kind:
            raise errors.FailedPreconditionError(
                f"snapshot {key!r} is {record.kind.value}, not {kind.value}"
            )
        return record


def _shown(namespace: str, key: str, record: SnapshotRecord) -> Snapshot:
    return Snapshot(
        namespace=namespace,
        key=key,
        kind=record.kind,
        parent=record.parent,
        labels=record.labels,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
