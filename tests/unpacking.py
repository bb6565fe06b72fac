"""Unpacking layers in tests: blobs in, directories out."""

import asyncio
import contextlib
import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store.images import Unpacked
from store.images.unpack import WorkerUnpacker
from tests.listing import descriptors

PLAIN = "application/vnd.oci.image.layer.v1.tar"


@dataclass
class Bench:
    """An unpacker and directories to unpack to."""

    unpacker: WorkerUnpacker
    directory: Path
    reports: list[int] = field(default_factory=list)
    count: int = 0

    def blob(self, data: bytes) -> Path:
        """Return a file that holds `data`."""
        self.count += 1
        path = self.directory / f"blob-{self.count}"
        path.write_bytes(data)
        return path

    def fresh(self) -> Path:
        """Return a new, empty directory."""
        self.count += 1
        target = self.directory / f"layer-{self.count}"
        target.mkdir()
        return target

    async def unpack(
        self, data: bytes, *, target: Path | None = None, media_type: str = PLAIN
    ) -> Unpacked:
        """Unpack `data` as one complete blob."""

        async def follow() -> tuple[int, bool]:
            return len(data), True

        return await self.unpacker.unpack(
            blob=self.blob(data),
            follow=follow,
            media_type=media_type,
            target=target or self.fresh(),
            report=self.reports.append,
        )

    async def layer(self, data: bytes, *lowers: Path) -> Path:
        """Return the directory of a layer, unpacked and completed on `lowers`."""
        target = self.fresh()
        unpacked = await self.unpack(data, target=target)
        await self.unpacker.complete(unpacked.unfinished, target=target, lowers=lowers)
        return target


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if the block leaves a worker, a job or a descriptor."""
    before = workers(), descriptors()
    yield
    assert workers() <= before[0]
    assert descriptors() <= before[1]


def workers() -> set[int]:
    """Return the pids of this process's unpack workers and of their jobs, the dead included.

    A subreaper has others' orphans among its children, at any time; those are no Pythons.
    """
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        inner = _pythons_of(waiting.pop())
        found |= inner
        waiting += inner
    return found


def _pythons_of(parent: int) -> set[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    children = {int(text) for task in tasks for text in _read(task).split()}
    return {pid for pid in children if _read(Path(f"/proc/{pid}/comm")).startswith("python")}


def _read(path: Path) -> str:
    """Return what is there; nothing of a thread or a process that has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def zipped(data: bytes) -> bytes:
    """Return `data` as gzip."""
    return gzip.compress(data, 1)


async def gone(pid: int) -> None:
    """Wait until a process that is not a child of this one has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
