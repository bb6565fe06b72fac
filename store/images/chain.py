"""Layers become snapshots: fetched and unpacked side by side, committed from the bottom up.

Each layer is unpacked without its parents while it downloads, in a snapshot that nobody can name,
and becomes the committed snapshot of its chain id once the one below is there. Layers that have
one already are neither fetched nor unpacked.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.content import Descriptor
from store.digest import Digest
from store.errors import (
    AlreadyExistsError,
    DataLossError,
    Error,
    NotFoundError,
    ResourceExhaustedError,
)
from store.images import Progress, Report, Unpacked, Unpacker
from store.images.connect import Remote
from store.images.details import Details
from store.images.fetch import Fetcher
from store.images.growth import Growth
from store.images.protect import Lease
from store.locks import Locks
from store.snapshots import Kind, Snapshotter, Usage

UNPACKS: Final = 2
"""Layers of one image that are unpacked at once: each keeps about one core busy, and the node has
pods to run. Other pulls are not held up, so one slow registry delays nobody else."""

BOOT: Final = "io.ferry/boot"
"""Label of a layer's snapshot: the boot in which it was made. See `recover`."""

_log = logging.getLogger(__name__)


_WRITE_BACK_SECONDS: Final = 0.4
"""Small images are done by then and pay nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What layers are made with; `write_back` puts on the disk what there is so far."""

    namespace: str
    snapshotter: Snapshotter
    unpacker: Unpacker
    fetcher: Fetcher
    remote: Remote
    lease: Lease
    locks: Locks
    report: Report
    boot_id: str
    write_back: Callable[[], Awaitable[None]]


class Chain:
    """The snapshots of one image. `built` tells whether any had to be made."""

    def __init__(self, details: Details, workshop: Workshop) -> None:
        self._details = details
        self._workshop = workshop
        self._slots = asyncio.Semaphore(UNPACKS)
        self._downloads: dict[Digest, _Download] = {}
        self._there = [asyncio.Event() for _ in details.chain_ids]
        self.built = False

    async def build(self) -> None:
        """Return when every layer's snapshot is committed.

        Raises:
            DataLossError: a layer is malformed, or not what config or manifest promise.
            Error: what else fetching and unpacking raise.
        """
        first = await self._first_missing()
        for event in self._there[:first]:
            event.set()
        await self._check_space(first)
        failure: Error | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(first, len(self._there)):
                    self._start(index, group)
                group.create_task(self._write_back(), name="write back")
        except* Error as several:
            failure = _first(several)
        if failure is not None:
            raise failure

    async def _write_back(self) -> None:
        """Let the disk write while layers are made, so that the sync at the end has little left."""
        while self._there and not self._there[-1].is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_BACK_SECONDS):
                    await self._there[-1].wait()
                    return
            await self._workshop.write_back()

    def _start(self, index: int, group: asyncio.TaskGroup) -> None:
        layer = self._details.manifest.layers[index]
        if layer.digest not in self._downloads:
            self._downloads[layer.digest] = _Download(layer, self._workshop, group)
        group.create_task(self._layer(index), name=f"layer {layer.digest}")

    async def _first_missing(self) -> int:
        """Return how many layers from the bottom are there: below a snapshot are its parents."""
        for index in reversed(range(len(self._there))):
            if await self._exists(self._details.chain_ids[index]):
                return index + 1
        return 0

    async def _check_space(self, first: int) -> None:
        """Refuse, before it begins, a download that cannot end well."""
        layers = {layer.digest: layer.size for layer in self._details.manifest.layers[first:]}
        needed = sum(layers.values())
        free = await self._workshop.fetcher.space(self._details.id)
        if needed > free:
            raise ResourceExhaustedError(
                f"cannot fetch {self._details.id}: its layers have {needed} bytes, {free} are free"
            )

    async def _exists(self, chain_id: Digest) -> bool:
        """Tell whether a snapshot is committed, and keep it so."""
        shop = self._workshop
        await shop.lease.add_snapshot(chain_id)
        with contextlib.suppress(NotFoundError):
            return (await shop.snapshotter.stat(shop.namespace, chain_id)).kind is Kind.COMMITTED
        return False

    async def _layer(self, index: int) -> None:
        """Have the layer's snapshot committed, by ourselves or by a pull that is ahead of us."""
        download = self._downloads[self._details.manifest.layers[index].digest]
        with _naming(download.blob):
            await self._have(index, download)
        self._there[index].set()

    async def _have(self, index: int, download: "_Download") -> None:
        chain_id = self._details.chain_ids[index]
        async with self._workshop.locks.hold((self._workshop.namespace, chain_id)):
            while not await self._exists(chain_id):
                growth = download.growth
                try:
                    await self._make(index, growth)
                except DataLossError:
                    if not await download.again(growth):
                        raise

    async def _make(self, index: int, growth: Growth) -> None:
        """Unpack into a new snapshot and commit it; whatever fails, no snapshot is left."""
        shop = self._workshop
        chain_id = self._details.chain_ids[index]
        key = f"extract-{time.time_ns()}-{secrets.token_hex(4)} {chain_id}"
        await shop.lease.add_snapshot(key)
        await shop.snapshotter.prepare(shop.namespace, key, None)
        try:
            usage = await self._fill(index, key, growth)
            await growth.published()
            parent = self._details.chain_ids[index - 1] if index else None
            labels = {BOOT: shop.boot_id}
            await shop.snapshotter.commit(
                shop.namespace, key, chain_id, parent=parent, labels=labels, usage=usage
            )
        except AlreadyExistsError:
            await self._discard(key)
        except BaseException:
            # A pull is cancelled at most once, so this is not cut short.
            await self._discard(key)
            raise
        self.built = True

    async def _discard(self, key: str) -> None:
        """Remove a snapshot; if that fails, the collector will, and the first error counts."""
        try:
            await self._workshop.snapshotter.remove(self._workshop.namespace, key)
        except Error as error:
            _log.warning("cannot remove snapshot %s: %s", key, error)

    async def _fill(self, index: int, key: str, growth: Growth) -> Usage:
        """Unpack into the snapshot `key`, complete it, and return what it takes."""
        shop = self._workshop
        target = await shop.snapshotter.upper(shop.namespace, key)
        layer = self._details.manifest.layers[index]
        path = await growth.began()

        def report(done: int) -> None:
            shop.report(Progress(stage="unpack", item=layer.digest, done=done, total=layer.size))

        async with self._slots:
            unpacked = await shop.unpacker.unpack(
                blob=growth.path or path,
                follow=growth.follow(),
                media_type=layer.media_type,
                target=target,
                report=report,
            )
        report(layer.size)
        self._check(index, unpacked)
        lowers = await self._below(index)
        await shop.unpacker.complete(unpacked.unfinished, target=target, lowers=lowers)
        return Usage(bytes=unpacked.size, inodes=unpacked.inodes)

    def _check(self, index: int, unpacked: Unpacked) -> None:
        expected = self._details.config.diff_ids[index]
        if unpacked.diff_id != expected:
            raise DataLossError(f"it unpacks to {unpacked.diff_id}, the config promises {expected}")

    async def _below(self, index: int) -> tuple[Path, ...]:
        """Wait for the layers below, and return their directories."""
        if not index:
            return ()
        await self._there[index - 1].wait()
        shop = self._workshop
        return await shop.snapshotter.layers(shop.namespace, self._details.chain_ids[index - 1])


class _Download:
    """One blob of the image; several layers may be made of it. `growth` is the current attempt."""

    def __init__(self, blob: Descriptor, workshop: Workshop, group: asyncio.TaskGroup) -> None:
        self.blob = blob
        self._workshop = workshop
        self._group = group
        self.growth = self._start(fresh=False)

    def _start(self, *, fresh: bool) -> Growth:
        growth = Growth()
        self._group.create_task(
            self._workshop.fetcher.blob(self.blob, growth, fresh=fresh),
            name=f"fetch {self.blob.digest}",
        )
        return growth

    async def again(self, growth: Growth) -> bool:
        """Tell whether it makes sense to try again after `growth` made a bad layer.

        It does if it was read from content, where it may have rotted, or if its bytes were not
        those of the digest and another host may have the right ones; a new attempt is under way
        then.
        """
        error = await growth.settled()
        if growth is not self.growth:
            return True
        lied = isinstance(error, DataLossError)
        if not growth.kept and not (lied and self._workshop.remote.distrust(self.blob.digest)):
            return False
        self.growth = self._start(fresh=True)
        return True


@contextlib.contextmanager
def _naming(layer: Descriptor) -> Iterator[None]:
    """Let errors about a layer's content say which one it is."""
    try:
        yield
    except (DataLossError, ResourceExhaustedError) as error:
        raise type(error)(f"cannot use layer {layer.digest}: {error}") from error


def _first(group: BaseExceptionGroup[Error]) -> Error:
    """Return the first error of several: the others are its consequences or come too late."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
