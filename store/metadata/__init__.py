"""Records: the contract.

A record is a frozen dataclass, keyed by (namespace, id), stored as JSON in SQLite and served from
memory. A change is a function from the old record to the new one; disk comes before memory, and a
raise changes nothing. Commits survive a crash of the daemon, not of the machine: what describes
running things is discarded when the boot id changes.

A row that cannot be decoded is quarantined: moved aside with the reason, listed by `quarantined`,
never in the way of the others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRecord:
    """A row that could not be decoded, kept for whoever repairs it."""

    table: str
    namespace: str
    id: str
    reason: str
    data: bytes


class Records(Protocol[T]):
    """One table of one record type. Reads are memory only; writes commit before they return."""

    def get(self, namespace: str, id_: str) -> T:
        """Return the record, or raise NotFoundError."""
        ...

    def find(self, namespace: str, id_: str) -> T | None:
        """Return the record, or None."""
        ...

    def add(self, namespace: str, id_: str, record: T) -> None:
        """Store a new record; AlreadyExistsError if the id is taken."""
        ...

    def put(self, namespace: str, id_: str, record: T) -> None:
        """Store, replacing what is there."""
        ...

    def update(self, namespace: str, id_: str, change: Callable[[T], T]) -> T:
        """Commit `change` to disk, then let readers see it; NotFoundError if absent."""
        ...

    def delete(self, namespace: str, id_: str) -> bool:
        """Forget the record; False if there was none."""
        ...

    def walk(self, namespace: str | None = None) -> Iterator[tuple[str, str, T]]:
        """Yield (namespace, id, record) in key order, of one namespace or of all."""
        ...

    def namespaces(self) -> list[str]:
        """Return the namespaces that have a record, sorted."""
        ...

    def quarantined(self) -> tuple[BadRecord, ...]:
        """Return the rows that could not be decoded."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container's metadata, which survives its process (containerd's containers service).

    `extensions` hold what a client such as CRI keeps with it, by a name of its own. Times are
    Unix nanoseconds.
    """

    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""
    snapshotter: str = ""
    snapshot_key: str = ""
    sandbox_id: str = ""
    spec: bytes = b""
    extensions: Mapping[str, bytes] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace's record; its labels may set defaults such as the snapshotter."""

    labels: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0
