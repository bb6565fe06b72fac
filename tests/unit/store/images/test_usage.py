import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.database import Database
from store.errors import NotFoundError
from store.images.usage import FRESH, UsageMeter
from store.snapshots import Snapshotter, Usage
from store.snapshots.overlay import OverlaySnapshotter
from tests.waiting import PATIENCE


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[Snapshotter]:
    with Database(tmp_path / "state.db") as database:
        yield OverlaySnapshotter(tmp_path / "snapshots", database)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    (path / "blobs").mkdir(parents=True)
    return path


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def running(meter: UsageMeter) -> AsyncIterator[UsageMeter]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(meter.run())
        yield meter
        task.cancel()


async def used(meter: UsageMeter) -> int:
    return sum(usage.used_bytes for usage in await meter.usage())


async def settle(meter: UsageMeter, expected: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await used(meter) != expected:  # noqa: ASYNC110 - it is measured behind our back
            await asyncio.sleep(0.001)


async def test_old_figures_are_given_at_once_and_renewed(
    snapshotter: Snapshotter, content: Path
) -> None:
    clock = Clock()
    async with running(UsageMeter(content, snapshotter, lambda: ["ns"], clock)) as meter:
        assert await used(meter) == 0
        (content / "blobs" / "x").write_bytes(bytes(8192))
        assert await used(meter) == 0
        clock.now = FRESH + 1
        assert await used(meter) == 0
        await settle(meter, 8192)


async def test_a_change_is_measured_soon(snapshotter: Snapshotter, content: Path) -> None:
    async with running(UsageMeter(content, snapshotter, lambda: ["ns"], Clock())) as meter:
        assert await used(meter) == 0
        await snapshotter.prepare("ns", "a", None)
        (await snapshotter.upper("ns", "a") / "f").write_bytes(bytes(4096))
        blocks = (await snapshotter.usage("ns", "a")).bytes
        meter.touch()
        await settle(meter, blocks)
        assert blocks >= 4096


async def test_a_snapshot_that_goes_meanwhile_is_no_harm(
    snapshotter: Snapshotter, content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(namespace: str, key: str) -> Usage:
        raise NotFoundError(f"{namespace} {key}")

    await snapshotter.prepare("ns", "a", None)
    monkeypatch.setattr(snapshotter, "usage", gone)
    async with running(UsageMeter(content, snapshotter, lambda: ["ns"])) as meter:
        assert await used(meter) == 0


async def test_a_disk_that_fails_does_not_end_the_meter(
    snapshotter: Snapshotter, content: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content.rename(content.with_name("elsewhere"))  # noqa: ASYNC240 - a test's own
    async with running(UsageMeter(content, snapshotter, lambda: ["ns"])) as meter:
        (usage,) = await meter.usage()
        assert usage.mountpoint == str(snapshotter.root)
        assert "cannot measure" in caplog.text
        content.with_name("elsewhere").rename(content)
        (content / "x").write_bytes(bytes(4096))
        meter.touch()
        await settle(meter, 4096)
