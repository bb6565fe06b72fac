import os
from pathlib import Path

import pytest

from runtime.kernel import Mounts, options
from runtime.kernel.mounts import LinuxMounts
from store.snapshots import Mount
from tests.contracts.kernel import TMPFS, MountsContract

pytestmark = pytest.mark.root


class TestLinuxMounts(MountsContract):
    @pytest.fixture
    def mounts(self) -> Mounts:
        return LinuxMounts()


def flags_of(path: Path) -> tuple[set[str], str]:
    """Return the mount's own options and its optional (propagation) field."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if options.unescape(fields[4]) == str(path):
            return set(fields[5].split(",")), fields[6]
    raise AssertionError(f"{path} is no mount point")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_text("content")
    return path


def test_a_filesystem_gets_flags_and_data(tmp_path: Path) -> None:
    kernel = LinuxMounts()
    mount = Mount(type="tmpfs", source="x", options=("ro", "nodev", "noexec", "size=128k"))
    kernel.mount(mount, tmp_path)
    assert flags_of(tmp_path)[0] >= {"ro", "nodev", "noexec", "relatime"}
    status = os.statvfs(tmp_path)
    assert status.f_blocks * status.f_frsize == 128 * 1024
    assert kernel.unmount(tmp_path)


def test_a_bind_is_read_only_from_the_first_moment(tmp_path: Path, source: Path) -> None:
    kernel = LinuxMounts()
    target = tmp_path / "target"
    target.mkdir()
    bind = ("bind", "ro", "nosuid", "noatime")
    kernel.mount(Mount(type="none", source=str(source), options=bind), target)
    assert (target / "file").read_text() == "content"
    assert flags_of(target)[0] == {"ro", "nosuid", "noatime"}
    with pytest.raises(OSError, match="Read-only"):
        (target / "file").write_text("changed")
    kernel.mount(Mount(type="none", source="none", options=("remount", "bind", "rw")), target)
    (target / "file").write_text("changed")
    assert kernel.unmount(target)
    assert (source / "file").read_text() == "changed"


def test_rbind_takes_mounts_below_along_and_bind_does_not(tmp_path: Path, source: Path) -> None:
    kernel = LinuxMounts()
    target, below = tmp_path / "target", source / "below"
    target.mkdir()
    below.mkdir()
    kernel.mount(TMPFS, below)
    kernel.mount(Mount(type="bind", source=str(source), options=("bind",)), target)
    assert kernel.mounted(target) == [target]
    assert kernel.unmount(target)
    kernel.mount(Mount(type="bind", source=str(source), options=("rbind", "rprivate")), target)
    assert kernel.mounted(target) == [target / "below", target]
    assert flags_of(target)[1] == "-"
    assert flags_of(target / "below")[1] == "-"
    assert kernel.unmount(target)
    assert kernel.unmount(below)
    assert kernel.mounted(tmp_path) == []


def test_a_file_is_bound_on_a_file(tmp_path: Path, source: Path) -> None:
    kernel = LinuxMounts()
    (tmp_path / "target").touch()
    bind = Mount(type="none", source=str(source / "file"), options=("bind",))
    kernel.mount(bind, tmp_path / "target")
    assert (tmp_path / "target").read_text() == "content"
    assert kernel.unmount(tmp_path / "target")


def test_propagation_alone_changes_an_existing_mount(tmp_path: Path) -> None:
    kernel = LinuxMounts()
    kernel.mount(TMPFS, tmp_path)
    for option, shown in (("shared", "shared:"), ("private", "-"), ("unbindable", "unbindable")):
        kernel.mount(Mount(type="", source="", options=(option,)), tmp_path)
        assert flags_of(tmp_path)[1].startswith(shown)
    assert kernel.unmount(tmp_path)


def test_an_overlay_of_200_layers_fits(tmp_path: Path) -> None:
    kernel = LinuxMounts()
    lowers = []
    for number in range(200):
        lower = tmp_path / f"layer-with-a-long-name-{number:04}" / "fs"
        lower.mkdir(parents=True)
        (lower / f"from-{number}").write_text(str(number))
        (lower / "top").write_text(str(number))
        lowers.append(str(lower))
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    data = (
        f"lowerdir={':'.join(lowers)}",
        f"upperdir={tmp_path}/upper",
        f"workdir={tmp_path}/work",
        "volatile",
    )
    merged = tmp_path / "merged"
    kernel.mount(Mount(type="overlay", source="overlay", options=data), merged)
    assert (merged / "top").read_text() == "0"
    assert (merged / "from-199").read_text() == "199"
    (merged / "new").touch()
    assert (tmp_path / "upper" / "new").exists()
    assert kernel.unmount(merged)


def test_oversized_options_of_others_are_refused_not_cut(tmp_path: Path) -> None:
    mount = Mount(type="tmpfs", source="x", options=("size=64k", "mpol=" + "x" * 5000))
    with pytest.raises(OSError, match="do not fit into a page"):
        LinuxMounts().mount(mount, tmp_path)
    assert LinuxMounts().mounted(tmp_path) == []


def test_errors_name_the_call_and_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"mount nosuchfs from x") as error:
        LinuxMounts().mount(Mount(type="nosuchfs", source="x"), tmp_path)
    assert str(tmp_path) in str(error.value)
    bind = Mount(type="none", source=str(tmp_path / "gone"), options=("bind",))
    with pytest.raises(FileNotFoundError, match="gone"):
        LinuxMounts().mount(bind, tmp_path)


def test_a_busy_mount_is_unmounted_lazily_only(tmp_path: Path) -> None:
    kernel = LinuxMounts()
    kernel.mount(TMPFS, tmp_path)
    with (tmp_path / "open").open("w"):
        with pytest.raises(OSError, match="busy"):
            kernel.unmount(tmp_path, lazy=False)
        assert kernel.unmount(tmp_path)
    assert kernel.mounted(tmp_path) == []
