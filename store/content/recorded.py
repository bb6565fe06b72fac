"""Content of which records are kept: the part that does not care where the bytes lie.

A blob is there for a namespace if it has a record and the file has the size that the record says:
a shorter one is what a power loss left of it.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from store import digest as digests
from store import errors
from store.content import Blob, Descriptor, Ingest, IngestStatus
from store.content.files import BlobFiles
from store.content.session import Opened, Session
from store.digest import Digest
from store.files import explained
from store.metadata import Records
from store.metadata.labels import checked, merged
from store.threads import in_thread

Transaction: TypeAlias = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRecord:
    """A blob of a namespace; its id is the digest. Times are Unix nanoseconds."""

    size: int
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRecord:
    """An unfinished write; its id is the `ref`. 0 and "" mean that nothing is expected."""

    size: int
    digest: str
    started_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Where records are kept, and what makes changes of both tables one."""

    blobs: Records[BlobRecord]
    ingests: Records[IngestRecord]
    transaction: Transaction


class RecordedContent:
    """All of `ContentStore` but `sync` and `sweep`."""

    def __init__(self, files: BlobFiles, tables: Tables) -> None:
        self._files = files
        self._tables = tables
        self._open_refs: set[str] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._tables.blobs!r}, writing {sorted(self._open_refs)}>"

    async def info(self, namespace: str, digest: Digest) -> Blob:
        """Return what `namespace` knows of the blob, or raise NotFoundError."""
        return _blob(digest, self._record(namespace, digest))

    async def read(self, namespace: str, digest: Digest, *, limit: int) -> bytes:
        """Return the whole blob, verified."""
        size = self._record(namespace, digest).size
        if size > limit:
            raise errors.DataLossError(f"cannot read {digest}: {size} bytes, limit is {limit}")
        return await in_thread(_read, self._files.path(digest), digest)

    def path(self, digest: Digest) -> Path:
        """Return where the bytes of a published blob lie."""
        return self._files.path(digest)

    async def walk(self, namespace: str) -> AsyncIterator[Blob]:
        """Yield every blob of `namespace`, in the order of digests."""
        for _, id_, record in self._tables.blobs.walk(namespace):
            digest = Digest(id_)
            if self._files.size(digest) == record.size:
                yield _blob(digest, record)

    @contextlib.asynccontextmanager
    async def ingest(self, namespace: str, ref: str, expected: Descriptor) -> AsyncIterator[Ingest]:
        """Open the write `ref`; see `ContentIngester.ingest`."""
        if ref in self._open_refs:
            raise errors.UnavailableError(f"cannot open the write {ref}: it is open already")
        self._open_refs.add(ref)
        try:
            self._begin(namespace, ref, expected)
            descriptor = self._files.open(ref)
            try:
                opened = Opened(
                    ref=ref,
                    expected=expected,
                    descriptor=descriptor,
                    path=self._files.partial(ref),
                )
                session = Session(opened, _Outcome(self._files, self._tables, namespace, ref))
                if os.fstat(descriptor).st_size:
                    await session.resume()
                yield session
            finally:
                os.close(descriptor)
        finally:
            self._open_refs.remove(ref)

    async def share(self, namespace: str, digest: Digest, labels: Mapping[str, str]) -> bool:
        """Make a blob that another namespace has visible in `namespace`; False if nobody has it."""
        sizes = {record.size for record in self._everywhere(digest)}
        size = self._files.size(digest)
        if size not in sizes or size is None:
            return False
        _store(self._tables.blobs, namespace, digest, size, labels)
        return True

    async def label(self, namespace: str, digest: Digest, labels: Mapping[str, str]) -> Blob:
        """Merge `labels` (an empty value removes one); NotFoundError if the blob is not there."""
        size = self._record(namespace, digest).size
        return _store(self._tables.blobs, namespace, digest, size, labels)

    async def delete(self, namespace: str, digest: Digest) -> None:
        """Forget the blob in `namespace`; the bytes go with the last namespace."""
        if not self._tables.blobs.delete(namespace, digest):
            raise errors.NotFoundError(f"blob {digest} not found in namespace {namespace}")
        if not self._everywhere(digest):
            self._files.discard(digest)

    async def ingests(self) -> list[IngestStatus]:
        """Return the unfinished writes."""
        return [
            _status(namespace, ref, record, self._files)
            for namespace, ref, record in self._tables.ingests.walk()
        ]

    async def abort(self, ref: str) -> None:
        """Drop an unfinished write."""
        if ref in self._open_refs:
            raise errors.FailedPreconditionError(f"cannot abort the write {ref}: it is open")
        found = [namespace for namespace, id_, _ in self._tables.ingests.walk() if id_ == ref]
        if not found:
            raise errors.NotFoundError(f"no unfinished write {ref}")
        for namespace in found:
            _Outcome(self._files, self._tables, namespace, ref).drop()

    def _record(self, namespace: str, digest: Digest) -> BlobRecord:
        record = self._tables.blobs.find(namespace, digest)
        if record is None or self._files.size(digest) != record.size:
            raise errors.NotFoundError(f"blob {digest} not found in namespace {namespace}")
        return record

    def _everywhere(self, digest: Digest) -> list[BlobRecord]:
        blobs = self._tables.blobs
        found = (blobs.find(namespace, digest) for namespace in blobs.namespaces())
        return [record for record in found if record is not None]

    def _begin(self, namespace: str, ref: str, expected: Descriptor) -> None:
        """Record the write; drop the bytes of one that expected something else."""
        ingests = self._tables.ingests
        for other, id_, record in list(ingests.walk()):
            if id_ != ref:
                continue
            same = (record.size, record.digest) == (expected.size, expected.digest)
            if same and other == namespace:
                return
            _Outcome(self._files, self._tables, other, ref).drop()
        now = time.time_ns()
        ingests.put(
            namespace,
            ref,
            IngestRecord(size=expected.size, digest=expected.digest, started_at=now),
        )


class _Outcome:
    """See `store.content.session.Outcome`."""

    def __init__(self, files: BlobFiles, tables: Tables, namespace: str, ref: str) -> None:
        self._files = files
        self._tables = tables
        self._namespace = namespace
        self._ref = ref

    def publish(self, digest: Digest, size: int, labels: Mapping[str, str]) -> Blob:
        """Rename and record in one; no other task sees a half of it."""
        with self._tables.transaction():
            self._tables.ingests.delete(self._namespace, self._ref)
            blob = _store(self._tables.blobs, self._namespace, digest, size, labels)
            self._files.publish(self._ref, digest)
        return blob

    def drop(self) -> None:
        """Forget the record and the bytes."""
        self._tables.ingests.delete(self._namespace, self._ref)
        self._files.drop(self._ref)


def _store(
    blobs: Records[BlobRecord],
    namespace: str,
    digest: Digest,
    size: int,
    labels: Mapping[str, str],
) -> Blob:
    """Record a blob, or merge labels into its record."""
    now = time.time_ns()
    old = blobs.find(namespace, digest)
    if old is None:
        record = BlobRecord(size=size, labels=checked(labels), created_at=now, updated_at=now)
    else:
        record = replace(old, size=size, labels=merged(old.labels, labels), updated_at=now)
    blobs.put(namespace, digest, record)
    return _blob(digest, record)


def _blob(digest: Digest, record: BlobRecord) -> Blob:
    return Blob(
        digest=digest,
        size=record.size,
        labels=record.labels,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _status(namespace: str, ref: str, record: IngestRecord, files: BlobFiles) -> IngestStatus:
    offset, updated_at = 0, record.started_at
    with contextlib.suppress(FileNotFoundError):
        found = files.partial(ref).stat()
        offset, updated_at = found.st_size, found.st_mtime_ns
    return IngestStatus(
        namespace=namespace,
        ref=ref,
        offset=offset,
        total=record.size,
        started_at=record.started_at,
        updated_at=updated_at,
    )


def _read(path: Path, digest: Digest) -> bytes:
    with explained(f"read blob {digest}"):
        data = path.read_bytes()
    if digests.of(digests.algorithm(digest), data) != digest:
        raise errors.DataLossError(f"cannot read {digest}: the stored bytes have another digest")
    return data
