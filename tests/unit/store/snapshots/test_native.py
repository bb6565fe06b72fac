import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.snapshots import Mount
from store.snapshots.native import NativeSnapshotter
from tests.contracts.snapshots import keys, layer
from tests.listing import listing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def snapshotter(root: Path, database: Database) -> NativeSnapshotter:
    return NativeSnapshotter(root, database)


async def test_what_is_prepared_is_a_copy_of_all_layers(
    snapshotter: NativeSnapshotter, root: Path
) -> None:
    base = await layer(snapshotter, "base")
    await layer(snapshotter, "top", "base")
    (mount,) = await snapshotter.prepare("one", "rootfs", "top")
    assert mount == Mount(type="bind", source=f"{root}/3/fs", options=("rbind", "rw"))
    upper = await snapshotter.upper("one", "rootfs")
    assert listing(upper) == ["base", "top"]
    (upper / "base").write_text("changed")
    assert (base / "base").read_text() == "base"


async def test_what_was_prepared_on_a_parent_is_whole_when_committed(
    snapshotter: NativeSnapshotter, root: Path
) -> None:
    await layer(snapshotter, "base")
    await snapshotter.prepare("one", "rootfs", "base")
    await snapshotter.commit("one", "rootfs", "changed")
    assert await snapshotter.layers("one", "changed") == (root / "2" / "fs",)
    await layer(snapshotter, "top", "changed")
    assert await snapshotter.layers("one", "top") == (root / "3" / "fs", root / "2" / "fs")
    (mount,) = await snapshotter.view("one", "look", "top")
    assert mount.options == ("rbind", "ro")
    assert listing(Path(mount.source)) == ["base", "top"]


async def test_a_failed_copy_leaves_nothing(
    snapshotter: NativeSnapshotter, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await layer(snapshotter, "base")
    (base / "base").unlink()
    base.rmdir()
    with pytest.raises(errors.NotFoundError, match=str(base)):
        await snapshotter.prepare("one", "rootfs", "base")
    assert await keys(snapshotter) == ["base"]
    base.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(errors.Error, match="cannot start cp"):
            await snapshotter.prepare("one", "rootfs", "base")
    assert await keys(snapshotter) == ["base"]
    snapshotter._directories.empty_trash()
    assert listing(root) == ["1", "trash"]


async def test_a_cancelled_copy_leaves_nothing(snapshotter: NativeSnapshotter, root: Path) -> None:
    await layer(snapshotter, "base")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(snapshotter.prepare("one", "rootfs", "base"))
        while await keys(snapshotter) == ["base"]:  # noqa: ASYNC110 - the record has no event
            await asyncio.sleep(0)
        task.cancel()
    assert await keys(snapshotter) == ["base"]
    snapshotter._directories.empty_trash()
    assert listing(root) == ["1", "trash"]
