"""Leases: what keeps new things from the collector until something refers to them.

Work inside the daemon takes a lease for a block (`Leases.lease`); it ends with the block and, like
the work, with the process, so it is never written to disk. Clients create leases by name, which
last until they are deleted or expire.
"""

import contextlib
import datetime as dt
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from store import errors, references
from store.database import Database
from store.metadata import identifiers
from store.metadata.labels import checked
from store.metadata.records import SqliteRecords
from store.references import Node, Root

EXPIRE: Final = "containerd.io/gc.expire"
FLAT: Final = "containerd.io/gc.flat"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A client's lease. Times are Unix nanoseconds; an `expires_at` of 0 is never."""

    labels: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[Node, ...] = ()
    created_at: int = 0
    expires_at: int = 0


class Lease:
    """A lease that lasts for a block; add things before they are made or looked for."""

    def __init__(self, namespace: str, snapshotter: str, seen: Callable[[Node], None]) -> None:
        self._namespace = namespace
        self._snapshotter = snapshotter
        self._seen = seen
        self._nodes: dict[Node, None] = {}

    def __repr__(self) -> str:
        return f"<Lease in {self._namespace}: {len(self._nodes)} resources>"

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What it keeps, in the order it was added."""
        return tuple(self._nodes)

    async def add_content(self, digest: str) -> None:
        """Keep a blob and what its labels refer to."""
        self._add(references.content(self._namespace, digest))

    async def add_ingest(self, ref: str) -> None:
        """Keep an unfinished write."""
        self._add(references.ingest(self._namespace, ref))

    async def add_snapshot(self, key: str) -> None:
        """Keep a snapshot, its parents and what its labels refer to."""
        self._add(references.snapshot(self._namespace, self._snapshotter, key))

    def _add(self, node: Node) -> None:
        self._nodes[node] = None
        self._seen(node)


class Leases:
    """The leases of all namespaces.

    Args:
        database: stays open as long as this is used.
        snapshotter: whose snapshots `Lease.add_snapshot` means.
        now: the clock, in Unix nanoseconds.
    """

    def __init__(
        self, database: Database, snapshotter: str, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._records = SqliteRecords(database, "lease", LeaseRecord)
        self._snapshotter = snapshotter
        self._now = now
        self._held: dict[int, Lease] = {}
        self._numbers = itertools.count(1)
        self._watchers: list[set[Node]] = []

    def __repr__(self) -> str:
        return f"<Leases {self._records!r}, {len(self._held)} held>"

    @contextlib.asynccontextmanager
    async def lease(self, namespace: str) -> AsyncIterator[Lease]:
        """Hold a new lease for the block; afterwards the collector takes what nothing needs."""
        number = next(self._numbers)
        lease = self._held[number] = Lease(namespace, self._snapshotter, self._see)
        try:
            yield lease
        finally:
            del self._held[number]

    def create(self, namespace: str, id_: str, labels: Mapping[str, str]) -> LeaseRecord:
        """Store a client's lease; the label `containerd.io/gc.expire` may limit its life.

        Raises:
            AlreadyExistsError: the id is taken.
            InvalidArgumentError: the id or a label cannot be used.
        """
        record = LeaseRecord(
            labels=checked(labels),
            created_at=self._now(),
            expires_at=_nanoseconds(labels[EXPIRE]) if EXPIRE in labels else 0,
        )
        self._records.add(namespace, identifiers.checked("lease id", id_), record)
        return record

    def get(self, namespace: str, id_: str) -> LeaseRecord:
        """Return a client's lease, or raise NotFoundError."""
        return self._records.get(namespace, id_)

    def walk(self, namespace: str) -> Iterator[tuple[str, LeaseRecord]]:
        """Yield (id, lease) of the clients' leases, in the order of ids."""
        for _, id_, record in self._records.walk(namespace):
            yield id_, record

    def delete(self, namespace: str, id_: str) -> None:
        """End a client's lease, or raise NotFoundError."""
        self.get(namespace, id_)
        self._records.delete(namespace, id_)

    def add(self, namespace: str, id_: str, node: Node) -> None:
        """Let a client's lease keep `node`, too; NotFoundError if there is no such lease."""
        self._records.update(
            namespace,
            id_,
            lambda old: replace(old, resources=tuple(dict.fromkeys((*old.resources, node)))),
        )

        self._see(node)

    def discard(self, namespace: str, id_: str, node: Node) -> None:
        """Let a client's lease keep `node` no longer; no error if it did not."""
        self._records.update(
            namespace,
            id_,
            lambda old: replace(old, resources=tuple(n for n in old.resources if n != node)),
        )

    def expire(self) -> list[tuple[str, str]]:
        """Delete the clients' leases whose time is over; return (namespace, id) of each."""
        over = [
            (namespace, id_)
            for namespace, id_, record in self._records.walk()
            if record.expires_at and record.expires_at <= self._now()
        ]
        for namespace, id_ in over:
            self._records.delete(namespace, id_)
        return over

    @contextlib.contextmanager
    def watched(self) -> Iterator[set[Node]]:
        """Have a set that gets every node which a lease starts to keep during the block.

        What is neither leased nor referred to may only be referred to again after it was leased.
        So the collector, which looks at references first and deletes later, misses nothing.
        """
        watcher: set[Node] = set()
        self._watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._watchers = [other for other in self._watchers if other is not watcher]

    def roots(self) -> Iterator[Root]:
        """Yield what every lease keeps."""
        for lease in list(self._held.values()):
            for node in lease.nodes:
                yield Root(node=node, reason="work in progress")
        for _, id_, record in self._records.walk():
            for node in record.resources:
                yield Root(node=node, reason=f"lease {id_}", flat=FLAT in record.labels)

    def _see(self, node: Node) -> None:
        for watcher in self._watchers:
            watcher.add(node)


def _nanoseconds(text: str) -> int:
    try:
        time_ = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise errors.InvalidArgumentError(
            f"cannot use label {EXPIRE}: {text[:64]!r} is no RFC 3339 time"
        ) from error
    if time_.tzinfo is None:
        raise errors.InvalidArgumentError(f"cannot use label {EXPIRE}: {text!r} has no time zone")
    return int(time_.timestamp()) * 10**9 + time_.microsecond * 1000
