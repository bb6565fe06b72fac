"""What images and snapshots take on disk, known without looking when somebody asks.

The kubelet asks every few seconds, and even to find out whether we are there. Committed layers are
counted when they are made; what is walked is walked in the background, at most once in a while.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.errors import Error, NotFoundError
from store.images import FilesystemUsage
from store.snapshots import Snapshotter
from store.threads import in_thread

FRESH: Final = 10.0
"""Seconds that a figure is good for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sum:
    """Bytes and inodes; `+` adds them."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "_Sum") -> "_Sum":
        return _Sum(self.bytes + other.bytes, self.inodes + other.inodes)


class UsageMeter:
    """Measures `content` (a directory) and a snapshotter; `namespaces` says whose snapshots."""

    def __init__(
        self,
        content: Path,
        snapshotter: Snapshotter,
        namespaces: Callable[[], Iterable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._content = content
        self._snapshotter = snapshotter
        self._namespaces = namespaces
        self._clock = clock
        self._known = [_entry(snapshotter.root, _Sum())]
        self._measured_at = float("-inf")
        self._wanted = asyncio.Event()
        self._first = asyncio.Event()

    async def usage(self) -> list[FilesystemUsage]:
        """Return the last figures; old ones are renewed for whoever asks next."""
        if self._clock() - self._measured_at > FRESH:
            self._wanted.set()
        await self._first.wait()
        return self._known

    def touch(self) -> None:
        """Measure soon, because something has changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Measure whenever it is wanted; for a task, until cancelled."""
        while True:
            self._wanted.clear()
            try:
                self._known = await self.measure()
            except (Error, OSError) as error:
                _log.warning("cannot measure what images take: %s", error)
            self._measured_at = self._clock()
            self._first.set()
            await self._wanted.wait()

    async def measure(self) -> list[FilesystemUsage]:
        """Look now. Snapshots and blobs on one filesystem make one entry."""
        blobs = await in_thread(_walk, self._content)
        layers = await self._layers()
        root = self._snapshotter.root
        if _device(root) == _device(self._content):
            return [_entry(root, blobs + layers)]
        return [_entry(root, layers), _entry(self._content, blobs)]

    async def _layers(self) -> _Sum:
        total = _Sum()
        for namespace in self._namespaces():
            async for snapshot in self._snapshotter.walk(namespace):
                with contextlib.suppress(NotFoundError):  # it is gone meanwhile
                    usage = await self._snapshotter.usage(namespace, snapshot.key)
                    total += _Sum(usage.bytes, usage.inodes)
        return total


def _entry(path: Path, total: _Sum) -> FilesystemUsage:
    return FilesystemUsage(
        mountpoint=str(path),
        used_bytes=total.bytes,
        inodes_used=total.inodes,
        timestamp=time.time_ns(),
    )


def _device(path: Path) -> int:
    return path.stat().st_dev


def _walk(root: Path) -> _Sum:
    """Add up a directory that others change meanwhile."""
    size = inodes = 0
    for directory, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += (Path(directory) / name).lstat().st_blocks * 512
                inodes += 1
    return _Sum(size, inodes)
