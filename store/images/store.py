"""Images, complete: pulled, named, found, removed. What CRI's image service stands on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from store.content import Descriptor
from store.errors import Error, FailedPreconditionError
from store.images import (
    Credentials,
    FilesystemUsage,
    Image,
    Report,
    UnpackedImage,
    events,
)
from store.images import reference as references
from store.images.connect import Connector
from store.images.details import Details
from store.images.events import Events
from store.images.fetch import DOWNLOADS
from store.images.names import Names
from store.images.pins import Pins
from store.images.platform import Platform
from store.images.pull import Puller, Stores
from store.images.recover import Recovery
from store.images.reference import Reference
from store.images.sharing import Sharing
from store.images.usage import UsageMeter
from store.metadata import Records

LABELS: Final = {"io.cri-containerd.image": "managed"}
"""How containerd marks images that CRI may list and remove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and as what images are used.

    `content_root` is what usage is measured of, with the snapshots of `namespaces` and of those
    that have images. `downloads` blobs of one image are fetched at once.
    """

    content_root: Path
    platform: Platform
    boot_id: str
    pins: Pins = field(default_factory=Pins)
    namespaces: frozenset[str] = frozenset()
    downloads: int = DOWNLOADS


class Images:
    """An `ImageStore`. Use as a block: entering it reads what is there, leaving ends pulls."""

    def __init__(
        self, stores: Stores, records: Records[Image], connector: Connector, setting: Setting
    ) -> None:
        self._records = records
        self._setting = setting
        self._names = Names(setting.pins)
        self._events = Events()
        self._sharing: Sharing[UnpackedImage] = Sharing()
        self._puller = Puller(
            stores,
            connector,
            platform=setting.platform,
            boot_id=setting.boot_id,
            downloads=setting.downloads,
        )
        self._recovery = Recovery(stores.content, stores.snapshotter, setting.platform)
        self._meter = UsageMeter(setting.content_root, stores.snapshotter, self.namespaces)
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Images {self._names!r}, {self._sharing!r}>"

    async def __aenter__(self) -> Self:
        await self._recover()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        meter = group.create_task(self._meter.run(), name="image usage")
        self._stack.callback(meter.cancel)
        await self._stack.enter_async_context(self._sharing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def usage(self) -> list[FilesystemUsage]:
        """Return what content and snapshots take, one entry for each filesystem."""
        return await self._meter.usage()

    def find(self, namespace: str, reference: str) -> UnpackedImage | None:
        """Return the image by tag, digest reference or id; see `ImageReader.find`."""
        return self._names.find(namespace, reference)

    def list(self, namespace: str) -> list[UnpackedImage]:
        """Return every image that is complete and unpacked, sorted by id."""
        return self._names.list(namespace)

    async def pull(
        self,
        namespace: str,
        reference: str,
        *,
        credentials: Credentials | None = None,
        report: Report | None = None,
    ) -> UnpackedImage:
        """Fetch, verify, unpack and name an image; see `ImagePuller.pull`."""
        parsed = references.parse(reference)

        async def work(report_all: Report) -> UnpackedImage:
            puller = self._puller.pulled(namespace, parsed, credentials, report_all)
            async with puller as found:
                return self._name(namespace, parsed, found)

        key = (namespace, parsed, credentials)
        return await self._sharing.join(key, work, report, name=f"pull {parsed}")

    async def remove(self, namespace: str, reference: str) -> None:
        """Forget every name of the image; see `ImageRemover.remove`."""
        image = self._names.find(namespace, reference)
        if image is None:
            return
        if image.pinned:
            raise FailedPreconditionError(f"cannot remove {reference}: the image is pinned")
        for name in image.names:
            self.forget(namespace, name)

    def forget(self, namespace: str, name: str) -> bool:
        """Forget one name, as it is recorded; False if there is none."""
        deleted = self._records.delete(namespace, name)
        self._names.drop(namespace, name)
        if deleted:
            self._events.publish(events.DELETE, name)
            self._meter.touch()
        return deleted

    def events(self) -> AsyncIterator[events.Event]:
        """Yield (topic, image name) as images are created, updated and deleted."""
        return self._events.listen()

    def repin(self, pins: Pins) -> None:
        """Take new patterns for pinned images."""
        self._names.repin(pins)

    def namespaces(self) -> frozenset[str]:
        """Return the namespaces that have images or are configured."""
        return self._setting.namespaces | {namespace for namespace, _, _ in self._records.walk()}

    async def _recover(self) -> None:
        found = await self._recovery.images(self._records)
        for namespace, name, details in found:
            self._names.put(namespace, name, details)
        for namespace in self.namespaces():
            here = [details for space, _, details in found if space == namespace]
            await self._recovery.drop_unproven(namespace, here, self._setting.boot_id)

    def _name(self, namespace: str, reference: Reference, found: Details) -> UnpackedImage:
        """Record the names of what was pulled: from here on it is an image."""
        target = found.path[0]
        digest, name = str(reference.at(target.digest)), str(reference)
        is_new = self._records.find(namespace, digest) is None
        self._record(namespace, digest, target)
        try:
            self._record(namespace, name, target)
        except Error:
            if is_new:
                self.forget(namespace, digest)
            raise
        for known in (digest, name):
            self._names.put(namespace, known, found)
        self._meter.touch()
        return self._names.get(namespace, found.id)

    def _record(self, namespace: str, name: str, target: Descriptor) -> None:
        now = time.time_ns()
        old = self._records.find(namespace, name)
        if old is None:
            image = Image(name=name, target=target, labels=LABELS, created_at=now, updated_at=now)
            self._records.add(namespace, name, image)
            self._events.publish(events.CREATE, name)
        elif old.target.digest != target.digest:
            self._records.put(namespace, name, replace(old, target=target, updated_at=now))
            self._events.publish(events.UPDATE, name)
