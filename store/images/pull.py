"""One pull: a name resolved, its documents and layers here, everything durable.

Nothing here gives a name to what was pulled: that is the caller's last step, after which the
lease may end.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from store.content import ContentStore
from store.digest import Digest
from store.files import sync_filesystem
from store.images import Credentials, Progress, Report, Unpacker, details
from store.images.chain import Chain, Workshop
from store.images.connect import Connector
from store.images.details import Details
from store.images.fetch import DOWNLOADS, Fetcher, Task
from store.images.platform import Platform
from store.images.protect import Protection
from store.images.reference import Reference
from store.locks import Locks
from store.snapshots import Snapshotter
from store.threads import in_thread

GC_CONTENT: Final = "containerd.io/gc.ref.content"
GC_SNAPSHOT: Final = "containerd.io/gc.ref.snapshot"
SOURCE: Final = "containerd.io/distribution.source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where pulled things go, and what protects them on the way."""

    content: ContentStore
    snapshotter: Snapshotter
    unpacker: Unpacker
    protection: Protection


class Puller:
    """Pulls images for one platform; `downloads` blobs of an image are fetched at once."""

    def __init__(
        self,
        stores: Stores,
        connector: Connector,
        *,
        platform: Platform,
        boot_id: str,
        downloads: int = DOWNLOADS,
    ) -> None:
        self._stores = stores
        self._connector = connector
        self._platform = platform
        self._boot_id = boot_id
        self._downloads = downloads
        self._locks = Locks()

    @contextlib.asynccontextmanager
    async def pulled(
        self, namespace: str, reference: Reference, credentials: Credentials | None, report: Report
    ) -> AsyncIterator[Details]:
        """Have an image in content and snapshots, on stable storage, protected for the block.

        Raises:
            Error: see `ImagePuller.pull`; what was fetched by then is left to the collector.
        """
        async with self._stores.protection.lease(namespace) as lease:
            report(Progress(stage="resolve", item=str(reference)))
            async with self._connector.connect(reference, credentials) as remote:
                task = Task(
                    namespace=namespace,
                    remote=remote,
                    lease=lease,
                    source={f"{SOURCE}.{reference.domain}": reference.path},
                    report=report,
                    downloads=self._downloads,
                )
                found = await self._fetch(task)
            report(Progress(stage="publish", item=str(reference)))
            yield found

    async def _fetch(self, task: Task) -> Details:
        fetcher = Fetcher(self._stores.content, self._locks, task)
        target = await task.remote.resolve()
        found = await details.find(target, self._platform, fetcher.document)
        chain = Chain(found, self._workshop(task, fetcher))
        await chain.build()
        for digest, labels in gc_labels(found, self._stores.snapshotter.name):
            await self._stores.content.label(task.namespace, digest, labels)
        if fetcher.fetched or chain.built:
            await self._sync(found)
        return found

    def _workshop(self, task: Task, fetcher: Fetcher) -> Workshop:
        return Workshop(
            namespace=task.namespace,
            snapshotter=self._stores.snapshotter,
            unpacker=self._stores.unpacker,
            fetcher=fetcher,
            remote=task.remote,
            lease=task.lease,
            locks=self._locks,
            report=task.report,
            boot_id=self._boot_id,
            write_back=self._stores.content.sync,
        )

    async def _sync(self, found: Details) -> None:
        """Put all of it on stable storage, on one filesystem or two."""
        await self._stores.content.sync()
        root, blob = self._stores.snapshotter.root, self._stores.content.path(found.id)
        if root.stat().st_dev != blob.stat().st_dev:
            await in_thread(sync_filesystem, root)


def gc_labels(found: Details, snapshotter: str) -> Iterator[tuple[Digest, Mapping[str, str]]]:
    """Yield what each document must be labelled with, so that it keeps what it refers to."""
    for parent, child in itertools.pairwise(found.path):
        yield parent.digest, {f"{GC_CONTENT}.m.0": child.digest}
    references = {f"{GC_CONTENT}.config": found.id}
    for number, layer in enumerate(found.manifest.layers):
        references[f"{GC_CONTENT}.l.{number}"] = layer.digest
    yield found.path[-1].digest, references
    if found.chain_id:
        yield found.id, {f"{GC_SNAPSHOT}.{snapshotter}": found.chain_id}
