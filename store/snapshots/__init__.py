"""Filesystem layers: the contract.

A snapshot is ACTIVE (writable, the top of a container's root filesystem or a layer being
unpacked), VIEW (read-only) or COMMITTED (immutable, may be a parent). Keys are per namespace; the
committed snapshot of an unpacked image layer is keyed by its chain id (OCI image specification,
config.md#layer-chainid), so images that share layers share snapshots.

Layers of one image are unpacked at the same time: each is prepared without a parent and told its
parent at `commit`. `prepare` and `mounts` do not mount anything: they answer `Mount` values that a
caller mounts where it likes.
"""

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Kind(enum.StrEnum):
    """What can be done with a snapshot."""

    VIEW = "view"
    ACTIVE = "active"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount(2), as data. `options` are those of mount(8), flags and filesystem data mixed."""

    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot's record. Times are Unix nanoseconds."""

    namespace: str
    key: str
    kind: Kind
    parent: str | None
    labels: Mapping[str, str]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a snapshot itself takes on disk, without its parents."""

    bytes: int
    inodes: int


class Snapshotter(Protocol):
    """Keeps snapshots; every method raises NotFoundError for an unknown key or parent."""

    @property
    def name(self) -> str:
        """The name that labels, records and clients use, such as `overlayfs`."""
        ...

    @property
    def root(self) -> Path:
        """Where it keeps its files (for ImageFsInfo)."""
        ...

    async def prepare(
        self, namespace: str, key: str, parent: str | None, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make an ACTIVE snapshot on a COMMITTED parent, or on nothing.

        Raises:
            AlreadyExistsError: `key` is taken.
            FailedPreconditionError: the parent is not committed.
        """
        ...

    async def view(
        self, namespace: str, key: str, parent: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Mount, ...]:
        """Make a read-only VIEW of a COMMITTED parent; errors as `prepare`."""
        ...

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
        """Turn the ACTIVE `key` into the COMMITTED `name`, under `parent` if one is given.

        Whoever filled it may know what it takes (`usage`), which saves walking it.

        Raises:
            AlreadyExistsError: `name` is taken; `key` is still active.
        """
        ...

    async def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """Return how to mount an ACTIVE or VIEW snapshot."""
        ...

    async def upper(self, namespace: str, key: str) -> Path:
        """Return the directory an ACTIVE snapshot writes to: where a layer is unpacked."""
        ...

    async def layers(self, namespace: str, key: str) -> tuple[Path, ...]:
        """Return the directories of a COMMITTED snapshot and its parents, topmost first."""
        ...

    async def remove(self, namespace: str, key: str) -> None:
        """Remove it; FailedPreconditionError while it is a parent. Disk is freed soon after."""
        ...

    async def stat(self, namespace: str, key: str) -> Snapshot:
        """Return the record."""
        ...

    async def usage(self, namespace: str, key: str) -> Usage:
        """Return what it takes; computed at commit for COMMITTED ones, else walked in a thread."""
        ...

    def walk(self, namespace: str) -> AsyncIterator[Snapshot]:
        """Yield every snapshot of `namespace`, in the order of keys."""
        ...

    async def mounted(self) -> frozenset[tuple[str, str]]:
        """Return (namespace, key) of each snapshot that is part of a mount of this process.

        Rather one too many than too few: whoever removes what nothing refers to spares these.
        """
        ...

    async def sweep(self) -> None:
        """Free directories no record names and nothing mounts (after a crash, after `remove`)."""
        ...
