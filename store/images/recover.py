"""What a start finds: the images that are whole, and snapshots that a power loss may have hurt.

A layer's snapshot is recorded before it is on stable storage; the image's name only afterwards.
So after a reboot a snapshot that no named image needs proves nothing, and is made again.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator

from store.content import ContentReader, Descriptor
from store.errors import Error, FailedPreconditionError, NotFoundError
from store.images import Image, details, documents
from store.images.chain import BOOT
from store.images.details import Details, Read
from store.images.platform import Platform
from store.metadata import Records
from store.snapshots import Kind, Snapshot, Snapshotter

_log = logging.getLogger(__name__)


class Recovery:
    """Reads back what pulls have left in one set of stores."""

    def __init__(
        self, content: ContentReader, snapshotter: Snapshotter, platform: Platform
    ) -> None:
        self._content = content
        self._snapshotter = snapshotter
        self._platform = platform

    async def details(self, namespace: str, image: Image) -> Details:
        """Return what an image consists of, if all that a container needs of it is here.

        Raises:
            NotFoundError: a document or the topmost layer's snapshot is missing.
            DataLossError: a document is not what it was.
        """
        found = await details.find(image.target, self._platform, self._reader(namespace))
        if found.chain_id:
            snapshot = await self._snapshotter.stat(namespace, found.chain_id)
            if snapshot.kind is not Kind.COMMITTED:
                raise NotFoundError(f"snapshot {found.chain_id} is not committed")
        return found

    async def images(self, records: Records[Image]) -> list[tuple[str, str, Details]]:
        """Return (namespace, name, details) of every complete image; log what others lack."""
        found: list[tuple[str, str, Details]] = []
        for namespace, name, image in list(records.walk()):
            try:
                found.append((namespace, name, await self.details(namespace, image)))
            except Error as error:
                _log.warning("image %s in %s is not complete: %s", name, namespace, error)
        return found

    async def drop_unproven(self, namespace: str, chains: Iterable[Details], boot_id: str) -> int:
        """Remove layers' snapshots of earlier boots that none of `chains` has; return how many."""
        proven = {chain_id for chain in chains for chain_id in chain.chain_ids}
        doubtful = {
            snapshot.key: snapshot
            async for snapshot in self._snapshotter.walk(namespace)
            if snapshot.key not in proven and _made_earlier(snapshot, boot_id)
        }
        removed = 0
        for key in _leaves_first(doubtful):
            with contextlib.suppress(FailedPreconditionError):  # a container stands on it
                await self._snapshotter.remove(namespace, key)
                removed += 1
        return removed

    def _reader(self, namespace: str) -> Read:
        async def read(descriptor: Descriptor) -> bytes:
            return await self._content.read(
                namespace, descriptor.digest, limit=documents.SIZE_LIMIT
            )

        return read


def _made_earlier(snapshot: Snapshot, boot_id: str) -> bool:
    made = snapshot.labels.get(BOOT)
    return snapshot.kind is Kind.COMMITTED and made is not None and made != boot_id


def _leaves_first(snapshots: dict[str, Snapshot]) -> Iterator[str]:
    """Yield keys so that a snapshot comes before its parent."""
    depth: dict[str, int] = {}

    def depth_of(key: str) -> int:
        below, chain = key, []
        while below in snapshots and below not in depth:
            chain.append(below)
            below = snapshots[below].parent or ""
        for link in reversed(chain):
            depth[link] = depth.get(snapshots[link].parent or "", 0) + 1
        return depth[key]

    yield from sorted(snapshots, key=depth_of, reverse=True)
