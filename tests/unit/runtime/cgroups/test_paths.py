import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cgroups import CgroupPaths, Driver
from runtime.cgroups.paths import CgroupfsPaths, SystemdPaths, expand_slice
from store.errors import InvalidArgumentError

POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a_1b.slice"


@pytest.mark.parametrize(
    ("paths", "parent", "pod", "cgroups_path", "directory"),
    [
        (CgroupfsPaths(), "", "/ferry-s1", "/ferry-s1/c1", "/ferry-s1/c1"),
        (
            CgroupfsPaths(),
            "/kubepods/podx",
            "/kubepods/podx",
            "/kubepods/podx/c1",
            "/kubepods/podx/c1",
        ),
        (
            SystemdPaths(),
            "",
            "/ferry.slice/ferry-s1.slice",
            "ferry-s1.slice:ferry:c1",
            "/ferry.slice/ferry-s1.slice/ferry-c1.scope",
        ),
        (
            SystemdPaths(),
            POD,
            POD,
            "kubepods-burstable-pod0a_1b.slice:ferry:c1",
            f"{POD}/ferry-c1.scope",
        ),
        (
            SystemdPaths(),
            "/test.slice",
            "/test.slice",
            "test.slice:ferry:c1",
            "/test.slice/ferry-c1.scope",
        ),
    ],
)
def test_where_a_container_goes(
    paths: CgroupPaths, parent: str, pod: str, cgroups_path: str, directory: str
) -> None:
    paths.check_parent(parent)
    assert paths.sandbox(parent, "s1") == pod
    assert paths.container(pod, "c1") == cgroups_path
    assert paths.directory(cgroups_path) == directory
    assert paths.directory(pod) == pod


def test_each_knows_its_driver() -> None:
    assert CgroupfsPaths().driver is Driver.CGROUPFS
    assert SystemdPaths().driver is Driver.SYSTEMD


@pytest.mark.parametrize(
    "parent",
    ["relative", "/", "//a", "/a/../b", "/a/", "/a//b", "/a/./b", "/a\nb", "/a\0", "/test.slice"],
)
def test_parents_that_cgroupfs_refuses(parent: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cgroup_parent"):
        CgroupfsPaths().check_parent(parent)


@pytest.mark.parametrize(
    "parent", ["test.slice", "/kubepods/podx", "/a/../b.slice", "/-.slice.slice/", "/.slice"]
)
def test_parents_that_systemd_refuses(parent: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"cgroup_parent|slice"):
        SystemdPaths().check_parent(parent)


@pytest.mark.parametrize("name", ["a--b.slice", "-a.slice", "a-.slice", "a/b.slice", "a b.slice"])
def test_names_that_are_no_slices(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="slice"):
        expand_slice(name)


def test_the_root_slice_is_the_root() -> None:
    assert expand_slice("-.slice") == ""
    assert SystemdPaths().directory("-.slice:ferry:c1") == "/ferry-c1.scope"


@given(st.text(max_size=40))
def test_what_cgroupfs_accepts_stays_below(parent: str) -> None:
    try:
        CgroupfsPaths().check_parent(parent)
    except InvalidArgumentError:
        return
    directory = CgroupfsPaths().directory(CgroupfsPaths().sandbox(parent, "s1"))
    assert posixpath.normpath(directory) == directory
    assert directory.startswith("/")
    assert directory != "/"
