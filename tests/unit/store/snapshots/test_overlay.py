import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.snapshots import Mount
from store.snapshots.overlay import OverlaySnapshotter
from tests.contracts.snapshots import layer
from tests.listing import listing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def snapshotter(root: Path, database: Database) -> OverlaySnapshotter:
    return OverlaySnapshotter(root, database)


async def test_without_a_parent_it_is_a_bind_mount(
    snapshotter: OverlaySnapshotter, root: Path
) -> None:
    (mount,) = await snapshotter.prepare("one", "upper", None)
    assert mount == Mount(type="bind", source=f"{root}/1/fs", options=("rbind", "rw"))


async def test_parents_are_lower_directories_topmost_first(
    snapshotter: OverlaySnapshotter, root: Path
) -> None:
    await layer(snapshotter, "base")
    await layer(snapshotter, "top", "base")
    (mount,) = await snapshotter.prepare("one", "upper", "top")
    assert (mount.type, mount.source) == ("overlay", "overlay")
    assert mount.options == (
        "index=off",
        "redirect_dir=nofollow",
        "metacopy=off",
        "volatile",
        f"workdir={root}/3/work",
        f"upperdir={root}/3/fs",
        f"lowerdir={root}/2/fs:{root}/1/fs",
    )


async def test_a_view_of_one_layer_is_a_bind_mount_of_two_an_overlay(
    snapshotter: OverlaySnapshotter, root: Path
) -> None:
    await layer(snapshotter, "base")
    await layer(snapshotter, "top", "base")
    (one,) = await snapshotter.view("one", "look at one", "base")
    (two,) = await snapshotter.view("one", "look at two", "top")
    assert one == Mount(type="bind", source=f"{root}/1/fs", options=("rbind", "ro"))
    assert two.options == (
        "ro",
        "index=off",
        "redirect_dir=nofollow",
        "metacopy=off",
        f"lowerdir={root}/2/fs:{root}/1/fs",
    )


async def test_the_upper_root_has_mode_and_owner_of_the_lower(
    snapshotter: OverlaySnapshotter,
) -> None:
    base = await layer(snapshotter, "base")
    base.chmod(0o1750)
    if os.geteuid() == 0:
        os.chown(base, 12, 34)
    await snapshotter.prepare("one", "upper", "base")
    upper = (await snapshotter.upper("one", "upper")).stat()
    lower = base.stat()
    assert (upper.st_mode, upper.st_uid, upper.st_gid) == (
        lower.st_mode,
        lower.st_uid,
        lower.st_gid,
    )


async def test_mounts_clears_the_mark_of_a_volatile_mount(
    snapshotter: OverlaySnapshotter, root: Path
) -> None:
    await layer(snapshotter, "base")
    await snapshotter.prepare("one", "upper", "base")
    mark = root / "2" / "work" / "work" / "incompat" / "volatile"
    mark.mkdir(parents=True)
    (mark / "dirty").touch()
    await snapshotter.mounts("one", "upper")
    assert listing(root / "2" / "work" / "work") == []


async def test_snapshots_survive_a_restart_and_numbers_are_not_used_again(
    snapshotter: OverlaySnapshotter, root: Path, database: Database
) -> None:
    await layer(snapshotter, "base")
    await snapshotter.prepare("one", "upper", "base")
    (root / "7").mkdir()
    again = OverlaySnapshotter(root, database)
    assert await again.layers("one", "base") == (root / "1" / "fs",)
    assert await again.upper("one", "upper") == root / "2" / "fs"
    await again.prepare("one", "new", None)
    assert await again.upper("one", "new") == root / "8" / "fs"


async def test_sweep_frees_what_a_crash_left(snapshotter: OverlaySnapshotter, root: Path) -> None:
    await layer(snapshotter, "base")
    (root / "5" / "fs" / "deep").mkdir(parents=True)
    (root / "trash" / "left").mkdir()
    await snapshotter.sweep()
    assert listing(root) == ["1", "trash"]
    assert listing(root / "trash") == []


@pytest.mark.parametrize("character", [",", ":", "\\"])
def test_a_root_that_mount_options_cannot_name_is_refused(
    tmp_path: Path, database: Database, character: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="mount options"):
        OverlaySnapshotter(tmp_path / f"a{character}b", database)


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_failed_mkdir_leaves_nothing(
    snapshotter: OverlaySnapshotter, root: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    real = Path.mkdir
    calls = 0

    def fail(self: Path, mode: int = 0o777) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            raise OSError(errno.ENOSPC, "no space left")
        real(self, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", fail)
        with pytest.raises(errors.ResourceExhaustedError, match=str(root)):
            await snapshotter.prepare("one", "upper", None)
    snapshotter._directories.empty_trash()
    assert listing(root) == ["trash"]
    await snapshotter.prepare("one", "upper", None)


async def test_a_failed_record_leaves_nothing(
    snapshotter: OverlaySnapshotter, root: Path, database: Database
) -> None:
    database._connection.execute("PRAGMA query_only=1")
    with pytest.raises(errors.UnavailableError):
        await snapshotter.prepare("one", "upper", None)
    database._connection.execute("PRAGMA query_only=0")
    snapshotter._directories.empty_trash()
    assert listing(root) == ["trash"]
    await snapshotter.prepare("one", "upper", None)


async def test_a_failed_commit_leaves_the_active_snapshot(
    snapshotter: OverlaySnapshotter, database: Database
) -> None:
    await snapshotter.prepare("one", "upper", None)
    database._connection.execute("PRAGMA query_only=1")
    with pytest.raises(errors.UnavailableError):
        await snapshotter.commit("one", "upper", "base")
    database._connection.execute("PRAGMA query_only=0")
    assert [snapshot.key async for snapshot in snapshotter.walk("one")] == ["upper"]
    await snapshotter.commit("one", "upper", "base")
