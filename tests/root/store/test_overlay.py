"""Overlay snapshots on the running kernel."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.mounts import LinuxMounts
from store.database import Database
from store.snapshots import Mount, Snapshotter
from store.snapshots.overlay import OverlaySnapshotter
from tests.contracts.snapshots import layer

pytestmark = pytest.mark.root


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[Snapshotter]:
    with Database(tmp_path / "state.db") as database:
        yield OverlaySnapshotter(tmp_path / "snapshots", database)
    assert LinuxMounts().mounted(tmp_path) == []


@contextlib.contextmanager
def mounted(mounts: tuple[Mount, ...], target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    kernel = LinuxMounts()
    for mount in mounts:
        kernel.mount(mount, target)
    try:
        yield target
    finally:
        assert kernel.unmount(target, lazy=False)


def read(path: Path) -> str:
    return path.read_text()


async def test_layers_are_seen_through_and_changes_stay_on_top(
    snapshotter: Snapshotter, tmp_path: Path
) -> None:
    base = await layer(snapshotter, "base")
    await layer(snapshotter, "top", "base")
    mounts = await snapshotter.prepare("one", "upper", "top")
    with mounted(mounts, tmp_path / "rootfs") as rootfs:
        assert sorted(os.listdir(rootfs)) == ["base", "top"]  # noqa: PTH208 - names are enough
        (rootfs / "base").write_text("changed")
        (rootfs / "top").unlink()
        (rootfs / "new").write_text("new")
    assert read(base / "base") == "base"
    await snapshotter.commit("one", "upper", "changed")
    views = await snapshotter.view("one", "look", "changed")
    with mounted(views, tmp_path / "rootfs") as rootfs:
        assert sorted(os.listdir(rootfs)) == ["base", "new"]  # noqa: PTH208 - names are enough
        assert read(rootfs / "base") == "changed"
        with pytest.raises(OSError, match="Read-only"):
            (rootfs / "x").touch()


async def test_a_snapshot_can_be_mounted_again(snapshotter: Snapshotter, tmp_path: Path) -> None:
    await layer(snapshotter, "base")
    mounts = await snapshotter.prepare("one", "upper", "base")
    with mounted(mounts, tmp_path / "rootfs") as rootfs:
        (rootfs / "new").write_text("kept")
    with mounted(await snapshotter.mounts("one", "upper"), tmp_path / "rootfs") as rootfs:
        assert read(rootfs / "new") == "kept"


async def test_a_bind_mount_without_parents(snapshotter: Snapshotter, tmp_path: Path) -> None:
    mounts = await snapshotter.prepare("one", "upper", None)
    with mounted(mounts, tmp_path / "rootfs") as rootfs:
        (rootfs / "file").write_text("written")
    await snapshotter.commit("one", "upper", "base")
    (directory,) = await snapshotter.layers("one", "base")
    assert read(directory / "file") == "written"
    views = await snapshotter.view("one", "look", "base")
    with mounted(views, tmp_path / "rootfs") as rootfs:
        assert read(rootfs / "file") == "written"
        with pytest.raises(OSError, match="Read-only"):
            (rootfs / "x").touch()


async def test_a_renamed_directory_leaves_no_redirect(
    snapshotter: Snapshotter, tmp_path: Path
) -> None:
    await snapshotter.prepare("one", "making", None)
    upper = await snapshotter.upper("one", "making")
    (upper / "directory").mkdir()
    await snapshotter.commit("one", "making", "base")
    mounts = await snapshotter.prepare("one", "upper", "base")
    with (
        mounted(mounts, tmp_path / "rootfs") as rootfs,
        pytest.raises(OSError, match="cross-device"),
    ):
        (rootfs / "directory").rename(rootfs / "renamed")


async def test_what_is_mounted_is_known(snapshotter: Snapshotter, tmp_path: Path) -> None:
    await layer(snapshotter, "base")
    await layer(snapshotter, "other")
    bind = await snapshotter.prepare("one", "alone", None)
    overlay = await snapshotter.prepare("one", "upper", "base")
    with mounted(bind, tmp_path / "first"):
        assert await snapshotter.mounted() == {("one", "alone")}
    with mounted(overlay, tmp_path / "a b,c"):
        assert await snapshotter.mounted() == {("one", "base"), ("one", "upper")}
    assert await snapshotter.mounted() == frozenset()


async def test_a_hundred_layers_can_be_mounted(snapshotter: Snapshotter, tmp_path: Path) -> None:
    parent = None
    for number in range(100):
        await layer(snapshotter, f"layer{number}", parent)
        parent = f"layer{number}"
    mounts = await snapshotter.prepare("one", "upper", parent)
    with mounted(mounts, tmp_path / "rootfs") as rootfs:
        assert len(os.listdir(rootfs)) == 100  # noqa: PTH208 - names are enough


async def test_a_mounted_directory_is_swept_only_when_it_is_no_longer(
    snapshotter: Snapshotter, tmp_path: Path
) -> None:
    await layer(snapshotter, "base")
    lost = snapshotter.root / "77"
    for name in ("fs", "work"):
        (lost / name).mkdir(parents=True)
    options = (
        f"workdir={lost}/work",
        f"upperdir={lost}/fs",
        f"lowerdir={snapshotter.root}/1/fs",
    )
    overlay = Mount(type="overlay", source="overlay", options=options)
    with mounted((overlay,), tmp_path / "rootfs") as rootfs:
        (rootfs / "file").write_text("in use")
        await snapshotter.sweep()
        assert read(lost / "fs" / "file") == "in use"
    await snapshotter.sweep()
    assert not lost.exists()


async def test_a_mounted_snapshot_can_be_removed(snapshotter: Snapshotter, tmp_path: Path) -> None:
    await layer(snapshotter, "base")
    mounts = await snapshotter.prepare("one", "upper", "base")
    with mounted(mounts, tmp_path / "rootfs") as rootfs:
        (rootfs / "file").write_text("x")
        await snapshotter.remove("one", "upper")
    await snapshotter.sweep()
    names = {path.name for path in snapshotter.root.iterdir()}
    assert names == {"1", "trash"}
    assert list((snapshotter.root / "trash").iterdir()) == []
