"""What images and clients may try on the way from a request to a spec.

Each test has a canary outside the root filesystem, or a bound in time and memory.
"""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.spec import NamespaceModes, Security
from runtime.spec.annotations import select
from runtime.spec.beneath import ensure_directory_in_root
from runtime.spec.mounts import image_volumes
from runtime.spec.namespaces import check_sysctls
from runtime.spec.users import read_account_file, resolve_user
from store.errors import InvalidArgumentError
from store.images import ImageConfig

_MEGABYTE = 1024 * 1024


def _state(canary: Path) -> tuple[int, int, int, int, list[str]]:
    found = canary.stat()
    return (
        found.st_mode,
        found.st_uid,
        found.st_mtime_ns,
        found.st_nlink,
        sorted(path.name for path in canary.rglob("*")),
    )


@pytest.fixture
def rootfs(tmp_path: Path) -> Iterator[Path]:
    """A root filesystem beside a canary that must be as it was afterwards."""
    root = tmp_path / "rootfs"
    (root / "etc").mkdir(parents=True)
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("host\n")
    before = _state(canary)
    yield root
    assert _state(canary) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "rootfs"]


class TestWorkingDirectories:
    @pytest.mark.parametrize("target", ["/", "../../canary", "..", "/../../../.."])
    def test_a_link_never_leaves_the_root(self, rootfs: Path, target: str) -> None:
        (rootfs / "link").symlink_to(target)
        try:
            ensure_directory_in_root(rootfs, "/link/made/here")
        except InvalidArgumentError:
            return
        assert (rootfs / "made/here").is_dir()

    @pytest.mark.parametrize(
        "path", ["/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root/tmp", "/x/../proc/self/cwd"]
    )
    def test_directories_of_processes_are_refused(self, rootfs: Path, path: str) -> None:
        with pytest.raises(InvalidArgumentError, match="working_dir"):
            ensure_directory_in_root(rootfs, path)
        assert not (rootfs / "proc").exists()

    def test_a_hidden_way_to_a_magic_link_is_refused(self, rootfs: Path) -> None:
        (rootfs / "dir").symlink_to("/proc/self/fd/3")
        with pytest.raises(InvalidArgumentError, match="working_dir"):
            ensure_directory_in_root(rootfs, "/dir/x")


class TestVolumes:
    def test_ways_up_stop_at_the_root(self) -> None:
        assert image_volumes(ImageConfig(volumes=("/../../canary",)), ()) == ("/canary",)

    @pytest.mark.parametrize("volume", ["/proc", "/proc/sys", "/", "/dev", "/a/../sys"])
    def test_the_kernels_places_are_refused(self, volume: str) -> None:
        with pytest.raises(InvalidArgumentError, match="VOLUME"):
            image_volumes(ImageConfig(volumes=(volume,)), ())


class TestAccountFiles:
    def test_no_special_file_is_waited_for(self, rootfs: Path) -> None:
        os.mkfifo(rootfs / "etc/passwd")
        (rootfs / "etc/group").symlink_to("passwd")
        for name in ("/etc/passwd", "/etc/group"):
            with pytest.raises(InvalidArgumentError, match="not a regular file"):
                read_account_file(rootfs, name)

    def test_a_link_to_the_host_finds_nothing(self, rootfs: Path) -> None:
        (rootfs / "etc/passwd").symlink_to("/etc/passwd-of-the-host")
        (rootfs / "etc/group").symlink_to("../../canary/secret")
        assert read_account_file(rootfs, "/etc/passwd") is None
        assert read_account_file(rootfs, "/etc/group") is None

    def test_a_gigabyte_is_refused_in_bounded_memory(self, rootfs: Path) -> None:
        with (rootfs / "etc/passwd").open("wb") as file:
            file.truncate(1024 * _MEGABYTE)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InvalidArgumentError, match="larger than"):
            read_account_file(rootfs, "/etc/passwd")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 64 * 1024

    @pytest.mark.parametrize(
        "content",
        [
            b"a" * (10 * _MEGABYTE),
            b"\n" * (10 * _MEGABYTE),
            b"a:b:1:1\n" * (_MEGABYTE * 10 // 8),
            b":" * (10 * _MEGABYTE),
        ],
        ids=["one line", "empty lines", "accounts", "colons"],
    )
    def test_the_largest_files_are_looked_at_quickly(self, content: bytes) -> None:
        started = time.process_time()
        with pytest.raises(InvalidArgumentError, match=r"more than|cannot find user"):
            resolve_user("ghost", Security(), content, content)
        assert time.process_time() - started < 1


class TestRequests:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/x"),
            ("kernel.shm_rmid_forced+x", "1"),
            ("kernel.core_pattern", "|/bin/x"),
            ("kernel.shm_rmid_forced/../core_pattern", "x"),
            ("net.ipv4.ip_forward", "1\nkernel.core_pattern=x"),
        ],
    )
    def test_sysctls_carry_no_passengers(self, name: str, value: str) -> None:
        with pytest.raises(InvalidArgumentError, match="cannot set sysctl"):
            check_sysctls({name: value}, NamespaceModes())

    def test_annotations_do_nothing_without_permission(self) -> None:
        asked = {
            "org.systemd.property.ExecStartPre": "x",
            "run.oci.handler": "wasm",
            "org.criu.config": "/etc/x",
            "cdi.k8s.io/gpu": "all",
        }
        assert select(asked, ()) == {}
