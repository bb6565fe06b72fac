"""Mounts with the ids of a user namespace: what is seen there, and what is on the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import Users, attach
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.options import Options
from runtime.kernel.threads import as_root_of
from store.snapshots import Mount
from tests.userns import users

pytestmark = pytest.mark.root

UID, GID = 200000, 300000


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Users]:
    with users(tmp_path / "pod") as made:
        yield made


@pytest.fixture
def mounts() -> LinuxMounts:
    return LinuxMounts()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def layer(directory: Path, number: int) -> Path:
    path = directory / "layers" / str(number) / "fs"
    path.mkdir(parents=True)
    (path / f"from-{number}").write_text(str(number))
    (path / "top").write_text(str(number))
    os.chown(path / "top", 1000, 50)
    return path


def overlay(directory: Path, count: int, *, writable: bool = True) -> Mount:
    lowers = [str(layer(directory, number)) for number in range(count)]
    options = [f"lowerdir={':'.join(lowers)}", "index=off", "redirect_dir=nofollow"]
    if writable:
        (directory / "layers/upper/fs").mkdir(parents=True)
        (directory / "layers/upper/work").mkdir()
        options += [
            f"upperdir={directory}/layers/upper/fs",
            f"workdir={directory}/layers/upper/work",
            "volatile",
        ]
    else:
        options.append("ro")
    return Mount(type="overlay", source="overlay", options=tuple(options))


def ids(path: Path) -> tuple[int, int]:
    return path.lstat().st_uid, path.lstat().st_gid


def test_an_overlay_shows_the_pods_ids_and_keeps_the_disks(
    mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path
) -> None:
    mounts.mount(overlay(tmp_path, 3), target, users=pod)
    assert mounts.mounted(target) == [target]
    assert (target / "top").read_text() == "0"
    assert (target / "from-2").read_text() == "2"
    assert ids(target) == ids(target / "from-2") == (UID, GID)
    assert ids(target / "top") == (UID + 1000, GID + 50)

    def act() -> None:
        (target / "new").mkdir()
        os.chown(target / "top", UID + 7, GID + 8)
        (target / "from-1").unlink()

    as_root_of(pod, act)
    upper = tmp_path / "layers/upper/fs"
    assert ids(upper / "new") == (0, 0)
    assert ids(upper / "top") == (7, 8)
    assert not (target / "from-1").exists()
    assert ids(tmp_path / "layers/0/fs/top") == (1000, 50)
    assert mounts.unmount(target)
    assert mounts.mounted(tmp_path / "layers") == []


def test_the_nodes_root_makes_nothing_there(
    mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path
) -> None:
    mounts.mount(overlay(tmp_path, 1), target, users=pod)
    with pytest.raises(OSError, match="Value too large"):
        (target / "new").mkdir()
    assert mounts.unmount(target)


def test_a_view_is_read_only_for_everybody(
    mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path
) -> None:
    mounts.mount(overlay(tmp_path, 2, writable=False), target, users=pod)
    assert ids(target / "top") == (UID + 1000, GID + 50)
    with pytest.raises(OSError, match="Read-only"):
        as_root_of(pod, (target / "new").touch)
    assert mounts.unmount(target)


def test_many_layers_fit(mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path) -> None:
    mounts.mount(overlay(tmp_path, 150), target, users=pod)
    assert (target / "from-149").read_text() == "149"
    assert ids(target / "from-149") == (UID, GID)
    assert mounts.unmount(target)


def test_a_bind_shows_the_pods_ids_and_keeps_its_flags(
    mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path
) -> None:
    source = layer(tmp_path, 1)
    bind = Mount(type="bind", source=str(source), options=("rbind", "ro"))
    mounts.mount(bind, target, users=pod)
    assert ids(target / "top") == (UID + 1000, GID + 50)
    assert os.statvfs(target).f_flag & os.ST_RDONLY
    assert mounts.unmount(target)
    writable = Mount(type="bind", source=str(source), options=("rbind", "rw"))
    mounts.mount(writable, target, users=pod)
    as_root_of(pod, (target / "new").touch)
    assert ids(source / "new") == (0, 0)
    assert mounts.unmount(target)


def test_a_failure_leaves_nothing_mounted(
    mounts: LinuxMounts, pod: Users, tmp_path: Path, target: Path
) -> None:
    whole = overlay(tmp_path, 2)
    broken = Mount(type="overlay", source="overlay", options=(*whole.options, "nosuchoption"))
    with pytest.raises(OSError, match="mount overlay"):
        mounts.mount(broken, target, users=pod)
    assert mounts.mounted(tmp_path / "target") == []
    bind = Mount(type="bind", source="/proc", options=("bind",))
    with pytest.raises(OSError, match="mount_setattr"):
        mounts.mount(bind, target, users=pod)
    assert mounts.mounted(target) == []
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="overlay"):
        mounts.mount(broken, target, users=pod)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.fixture
def shared(mounts: LinuxMounts, tmp_path: Path) -> Iterator[Path]:
    """A directory on a mount that is shared, as systemd makes all."""
    tmp_path.joinpath("shared").mkdir()
    place = tmp_path / "shared"
    options = ("bind", "shared")
    mounts.mount(Mount(type="bind", source=str(place), options=options), place)
    yield place
    mounts.unmount(place)


def test_the_layers_stay_visible_while_an_overlay_of_them_is_made(
    mounts: LinuxMounts, pod: Users, shared: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = overlay(shared, 2), []
    mount = attach.filesystem

    def looking(asked: Mount, options: Options, place: int) -> None:
        mount(asked, options, place)
        seen.append(mounts.mounted(shared))

    monkeypatch.setattr(attach, "filesystem", looking)
    mounts.mount(whole, target, users=pod)
    assert seen == [[shared]]
    assert mounts.mounted(shared) == [shared]
    assert (target / "top").read_text() == "0"
    assert mounts.unmount(target)


def test_which_file_systems_can(mounts: LinuxMounts, pod: Users, tmp_path: Path) -> None:
    assert mounts.mappable(tmp_path, pod)
    assert not mounts.mappable(Path("/proc"), pod)
    with pytest.raises(FileNotFoundError):
        mounts.mappable(tmp_path / "missing", pod)


def test_one_below_that_cannot_is_told_if_it_is_asked_for(
    mounts: LinuxMounts, pod: Users, target: Path
) -> None:
    assert mounts.mappable(target.parent, pod, recursive=True)
    mounts.mount(Mount(type="proc", source="proc", options=()), target)
    try:
        assert mounts.mappable(target.parent, pod)
        assert not mounts.mappable(target.parent, pod, recursive=True)
    finally:
        mounts.unmount(target)


def test_the_daemon_itself_stays_who_it_was(pod: Users) -> None:
    seen = as_root_of(pod, lambda: Path("/proc/thread-self/status").read_text())
    uids = next(line for line in seen.splitlines() if line.startswith("Uid:"))
    assert uids.split()[1:] == ["0", str(UID), "0", str(UID)]
    own = Path("/proc/self/status").read_text()
    assert next(x for x in own.splitlines() if x.startswith("Uid:")).split()[1:] == ["0"] * 4
