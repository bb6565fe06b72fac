"""Bytes of one pull: each document and blob from content if it is there, else from the registry.

Whoever fetches a blob holds its lock, so two images that share a layer download it once; the
second finds it, or goes on where the first was cut off.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from store.content import ContentStore, Descriptor, Ingest
from store.digest import Digest
from store.errors import DataLossError, Error, NotFoundError
from store.images import Progress, Report, documents
from store.images import manifest as manifests
from store.images.connect import Remote
from store.images.growth import Growth
from store.images.protect import Lease
from store.locks import Locks
from store.threads import in_thread

DOWNLOADS: Final = 3
"""Blobs of one image that are fetched at once: what containerd does. More gain nothing from
registries, which limit connections per client, and take memory and fairness from other pulls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is pulled: into which namespace, from where, protected by which lease, how wide."""

    namespace: str
    remote: Remote
    lease: Lease
    source: Mapping[str, str]
    report: Report
    downloads: int = DOWNLOADS


class Fetcher:
    """Fetches what one pull needs. `fetched` tells whether anything new came."""

    def __init__(self, content: ContentStore, locks: Locks, task: Task) -> None:
        self._content = content
        self._locks = locks
        self._task = task
        self._slots = asyncio.Semaphore(task.downloads)
        self.fetched = False

    async def document(self, wanted: Descriptor) -> bytes:
        """Return a manifest, an index or a config, which is in content afterwards.

        Raises:
            DataLossError: what the registry has is not what was promised.
            NotFoundError, PermissionDeniedError, UnavailableError: it cannot be had.
        """
        async with self._locks.hold(wanted.digest):
            await self._task.lease.add_content(wanted.digest)
            kept = await self._kept_document(wanted.digest)
            if kept is not None:
                return kept
            data = await self._task.remote.document(wanted)
            async with self._ingest(wanted) as ingest:
                if ingest.offset:
                    await ingest.truncate()
                await ingest.write(data)
                await ingest.commit(self._task.source)
            self.fetched = True
            return data

    async def blob(self, wanted: Descriptor, growth: Growth, *, fresh: bool = False) -> None:
        """Have a layer in content, telling `growth` how far it is; failures go there too.

        With `fresh` it is fetched even if it is there, because what is there is no good. It is
        reported before its turn comes, so that whoever watches sees what is still to do.
        """
        self._task.report(Progress(stage="download", item=wanted.digest, total=wanted.size))
        try:
            async with self._slots, self._locks.hold(wanted.digest):
                await self._task.lease.add_content(wanted.digest)
                kept = not fresh and await self._is_kept(wanted)
                if not kept:
                    await self._download(wanted, growth)
            growth.publish(self._content.path(wanted.digest), wanted.size, kept=kept)
        except Error as error:
            growth.fail(error)

    async def space(self, near: Digest) -> int:
        """Return how many bytes are free where the blob `near` lies."""
        found = await in_thread(os.statvfs, self._content.path(near))
        return found.f_bavail * found.f_frsize

    async def _download(self, wanted: Descriptor, growth: Growth) -> None:
        try:
            async with self._ingest(wanted) as ingest:
                sink = _Sink(ingest, wanted, growth, self._task.report)
                sink.tell()
                await self._task.remote.fetch(wanted, sink)
                await ingest.commit(self._task.source)
        except DataLossError:
            await self._drop(wanted)
            raise
        self.fetched = True

    @contextlib.asynccontextmanager
    async def _ingest(self, wanted: Descriptor) -> AsyncIterator[Ingest]:
        ref = _ref(wanted)
        await self._task.lease.add_ingest(ref)
        async with self._content.ingest(self._task.namespace, ref, wanted) as ingest:
            yield ingest

    async def _drop(self, wanted: Descriptor) -> None:
        """Keep nothing of a blob that is wrong, or it would be resumed."""
        with contextlib.suppress(NotFoundError):
            await self._content.abort(_ref(wanted))

    async def _kept_document(self, digest: Digest) -> bytes | None:
        """Return the document from content, where it is or from another namespace."""
        data = await self._read_document(digest)
        if data is None and await self._content.share(
            self._task.namespace, digest, self._task.source
        ):
            data = await self._read_document(digest)
        return data

    async def _read_document(self, digest: Digest) -> bytes | None:
        """Return what content has of this namespace; what rotted there is deleted."""
        namespace = self._task.namespace
        try:
            return await self._content.read(namespace, digest, limit=documents.SIZE_LIMIT)
        except NotFoundError:
            return None
        except DataLossError:
            await self._content.delete(namespace, digest)
            return None

    async def _is_kept(self, wanted: Descriptor) -> bool:
        """Tell whether content has the blob, for this namespace or for another."""
        with contextlib.suppress(NotFoundError):
            blob = await self._content.info(self._task.namespace, wanted.digest)
            return blob.size == wanted.size
        return await self._content.share(self._task.namespace, wanted.digest, self._task.source)


class _Sink:
    """An ingest whose progress others follow."""

    def __init__(self, ingest: Ingest, blob: Descriptor, growth: Growth, report: Report) -> None:
        self._ingest = ingest
        self._blob = blob
        self._growth = growth
        self._report = report

    @property
    def offset(self) -> int:
        return self._ingest.offset

    async def write(self, data: bytes | memoryview) -> None:
        await self._ingest.write(data)
        self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        done, total = self._ingest.offset, self._blob.size
        self._growth.advance(self._ingest.path, done, complete=done == total)
        self._report(Progress(stage="download", item=self._blob.digest, done=done, total=total))


def _ref(wanted: Descriptor) -> str:
    """Return the name of a write, in containerd's words."""
    if wanted.media_type in manifests.INDEXES:
        kind = "index"
    elif wanted.media_type in manifests.MANIFESTS:
        kind = "manifest"
    elif wanted.media_type in manifests.CONFIGS:
        kind = "config"
    else:
        kind = "layer"
    return f"{kind}-{wanted.digest}"
