"""Content-addressed blobs: the contract.

Bytes are shared by all namespaces; who may see a blob, and its labels, are kept per namespace. A
blob is written through an ingest that nobody can read. `Ingest.commit` verifies size and digest
and publishes the blob whole, by a rename, or raises and publishes nothing; leaving the block
without a commit keeps the partial bytes for a later resume under the same `ref` until `abort` or
the collector takes them.

Publishing is not made durable blob by blob: whoever names an image calls `sync` once before the
name appears. A blob that is found shorter than its record after a power loss is treated as absent.

Labels follow containerd's: `containerd.io/gc.ref.content.*`, `containerd.io/gc.ref.snapshot.*`,
`containerd.io/gc.root`, `containerd.io/gc.expire`, `containerd.io/distribution.source.*`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from store.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a piece of content is called: OCI image specification, descriptor.md."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A published blob as one namespace sees it. Times are Unix nanoseconds."""

    digest: Digest
    size: int
    labels: Mapping[str, str]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestStatus:
    """An unfinished write. `total` is 0 when the size is not known."""

    namespace: str
    ref: str
    offset: int
    total: int
    started_at: int
    updated_at: int


class Ingest(Protocol):
    """One open write; used by one task at a time."""

    @property
    def offset(self) -> int:
        """Bytes that are written so far; greater than 0 after a resume."""
        ...

    @property
    def path(self) -> Path:
        """The growing file, for a reader that follows it (the unpack worker)."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """Append `data`; hashing happens on the way, off the event loop for large pieces.

        Raises:
            DataLossError: it would have more bytes than expected; all of them are dropped.
        """
        ...

    async def truncate(self) -> None:
        """Start again at offset 0 (a server that ignored a Range request)."""
        ...

    async def commit(self, labels: Mapping[str, str] | None = None) -> Blob:
        """Verify and publish; a blob that is there already only gets the labels.

        Raises:
            DataLossError: size or digest differ from what was expected; the bytes are dropped.
        """
        ...


class ContentReader(Protocol):
    """Reading by digest."""

    async def info(self, namespace: str, digest: Digest) -> Blob:
        """Return what `namespace` knows of the blob, or raise NotFoundError."""
        ...

    async def read(self, namespace: str, digest: Digest, *, limit: int) -> bytes:
        """Return the whole blob, verified.

        Raises:
            DataLossError: it has more than `limit` bytes, or others than its digest says.
        """
        ...

    def path(self, digest: Digest) -> Path:
        """Return where the bytes of a published blob lie (read-only by agreement)."""
        ...

    def walk(self, namespace: str) -> AsyncIterator[Blob]:
        """Yield every blob of `namespace`, in the order of digests."""
        ...


class ContentIngester(Protocol):
    """Writing."""

    def ingest(
        self, namespace: str, ref: str, expected: Descriptor
    ) -> AbstractAsyncContextManager[Ingest]:
        """Open the write `ref`, resuming what an earlier one left if it expected the same.

        A `ref` is open at most once, whatever the namespace: UnavailableError otherwise.
        `expected.size` of 0 and an empty `expected.digest` mean "not known".
        """
        ...

    async def share(self, namespace: str, digest: Digest, labels: Mapping[str, str]) -> bool:
        """Make a blob that another namespace has visible in `namespace`; False if nobody has it."""
        ...


class ContentManager(Protocol):
    """Upkeep."""

    async def label(self, namespace: str, digest: Digest, labels: Mapping[str, str]) -> Blob:
        """Merge `labels` (an empty value removes one); NotFoundError if the blob is not there."""
        ...

    async def delete(self, namespace: str, digest: Digest) -> None:
        """Forget the blob in `namespace`; the bytes go with the last namespace."""
        ...

    async def ingests(self) -> list[IngestStatus]:
        """Return the unfinished writes."""
        ...

    async def abort(self, ref: str) -> None:
        """Drop an unfinished write.

        Raises:
            NotFoundError: there is none.
            FailedPreconditionError: it is open.
        """
        ...

    async def sweep(self) -> None:
        """Free the files that no record names, which only a crash leaves."""
        ...

    async def sync(self) -> None:
        """Return when all that was published is on stable storage (one syncfs(2))."""
        ...


class ContentStore(ContentReader, ContentIngester, ContentManager, Protocol):
    """What a complete implementation offers; ask for the narrow protocol you need."""
