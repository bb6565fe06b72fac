"""What every implementation of the kernel's contracts must do; a subclass gives the fixtures."""

from pathlib import Path

import pytest

from runtime.kernel import IdRange, Mounts, NamespaceRequest, Namespaces, UserMapping, Users
from store.errors import InvalidArgumentError
from store.snapshots import Mount
from tests.fakes.kernel import UNKNOWN_SYSCTL

MAPPING = UserMapping(
    uids=IdRange(first=200000, length=65536), gids=IdRange(first=300000, length=65536)
)
TMPFS = Mount(type="tmpfs", source="ferry-test", options=("nosuid", "size=64k"))


class MountsContract:
    """The fixture `mounts` is the implementation under test."""

    def test_a_mount_is_listed_until_it_is_unmounted(self, mounts: Mounts, tmp_path: Path) -> None:
        mounts.mount(TMPFS, tmp_path)
        assert mounts.mounted(tmp_path) == [tmp_path]
        assert mounts.unmount(tmp_path)
        assert mounts.mounted(tmp_path) == []

    def test_unmounting_what_is_not_mounted_is_false(self, mounts: Mounts, tmp_path: Path) -> None:
        assert not mounts.unmount(tmp_path)
        assert not mounts.unmount(tmp_path / "missing")
        assert not mounts.unmount(tmp_path / "missing" / "below")

    def test_stacked_mounts_go_together(self, mounts: Mounts, tmp_path: Path) -> None:
        mounts.mount(TMPFS, tmp_path)
        mounts.mount(TMPFS, tmp_path)
        assert mounts.unmount(tmp_path, lazy=False)
        assert not mounts.unmount(tmp_path)
        assert mounts.mounted(tmp_path) == []

    def test_the_deepest_mounts_come_first(self, mounts: Mounts, tmp_path: Path) -> None:
        places = [tmp_path / "a", tmp_path / "ab", tmp_path / "a" / "b c"]
        places[0].mkdir()
        places[1].mkdir()
        mounts.mount(TMPFS, places[0])
        mounts.mount(TMPFS, places[1])
        places[2].mkdir()
        mounts.mount(TMPFS, places[2])
        assert mounts.mounted(tmp_path) == [places[2], places[0], places[1]]
        assert mounts.mounted(places[0]) == [places[2], places[0]]
        assert [mounts.unmount(place) for place in mounts.mounted(tmp_path)] == [True] * 3

    def test_a_missing_target_is_an_error(self, mounts: Mounts, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="missing"):
            mounts.mount(TMPFS, tmp_path / "missing")

    def test_a_symlink_is_never_followed(self, mounts: Mounts, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with pytest.raises(OSError, match="link"):
            mounts.mount(TMPFS, tmp_path / "link")
        assert mounts.mounted(tmp_path) == []
        mounts.mount(TMPFS, tmp_path / "real")
        assert not mounts.unmount(tmp_path / "link")
        assert mounts.unmount(tmp_path / "real")

    def test_a_new_filesystem_has_nobodys_ids(self, mounts: Mounts, tmp_path: Path) -> None:
        users = Users(namespace=Path("/proc/self/ns/user"), uid=1, gid=1)
        with pytest.raises(OSError, match=tmp_path.name):
            mounts.mount(TMPFS, tmp_path, users=users)
        assert mounts.mounted(tmp_path) == []


class NamespacesContract:
    """The fixture `namespaces` is the implementation under test."""

    def test_namespaces_live_until_they_are_removed(
        self, namespaces: Namespaces, tmp_path: Path
    ) -> None:
        directory = tmp_path / "pod"
        assert not namespaces.alive(directory, ("net",))
        namespaces.create(NamespaceRequest(directory=directory, hostname="web"))
        assert namespaces.alive(directory, ("net", "ipc", "uts"))
        namespaces.remove(directory)
        assert not namespaces.alive(directory, ("net",))
        namespaces.remove(directory)

    def test_a_second_create_fails_and_the_first_lives(
        self, namespaces: Namespaces, tmp_path: Path
    ) -> None:
        namespaces.create(NamespaceRequest(directory=tmp_path / "pod"))
        with pytest.raises(FileExistsError):
            namespaces.create(NamespaceRequest(directory=tmp_path / "pod"))
        assert namespaces.alive(tmp_path / "pod", ("net", "ipc", "uts"))
        namespaces.remove(tmp_path / "pod")

    def test_only_what_was_asked_for_is_made(self, namespaces: Namespaces, tmp_path: Path) -> None:
        namespaces.create(NamespaceRequest(directory=tmp_path / "pod", network=False, uts=False))
        assert namespaces.alive(tmp_path / "pod", ("ipc",))
        assert not namespaces.alive(tmp_path / "pod", ("ipc", "net"))
        assert not namespaces.alive(tmp_path / "pod", ("uts",))
        namespaces.remove(tmp_path / "pod")

    def test_a_user_namespace_is_made_with_the_others(
        self, namespaces: Namespaces, tmp_path: Path
    ) -> None:
        directory = tmp_path / "pod"
        namespaces.create(NamespaceRequest(directory=directory, users=MAPPING, hostname="web"))
        assert namespaces.alive(directory, ("net", "ipc", "uts", "user"))
        namespaces.remove(directory)
        assert not namespaces.alive(directory, ("user",))
        namespaces.create(NamespaceRequest(directory=directory))
        assert not namespaces.alive(directory, ("user",))
        namespaces.remove(directory)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("kernel.core_pattern", "|/bin/sh"),
            ("vm.overcommit_memory", "1"),
            ("kernel.shm_rmid_forced", "1\n2"),
            ("net.ipv4/../../kernel/core_pattern", "x"),
            (UNKNOWN_SYSCTL, "1"),
        ],
    )
    def test_a_refused_sysctl_is_named_and_leaves_nothing(
        self, namespaces: Namespaces, tmp_path: Path, name: str, value: str
    ) -> None:
        directory = tmp_path / "pod"
        with pytest.raises(InvalidArgumentError) as refused:
            namespaces.create(NamespaceRequest(directory=directory, sysctls={name: value}))
        assert name in str(refused.value)
        assert not namespaces.alive(directory, ("net",))
        assert not directory.exists()

    def test_a_shared_namespace_takes_no_sysctls(
        self, namespaces: Namespaces, tmp_path: Path
    ) -> None:
        sysctls = {"net.ipv4.ip_forward": "1"}
        request = NamespaceRequest(directory=tmp_path / "pod", network=False, sysctls=sysctls)
        with pytest.raises(InvalidArgumentError, match=r"net\.ipv4\.ip_forward"):
            namespaces.create(request)
