from pathlib import Path

import pytest

from runtime.cgroups.detect import CgroupLayout, Layout
from runtime.spec import HostFacts
from runtime.spec.capabilities import KNOWN
from runtime.spec.host import gather, page_size_name, parse_capabilities
from store.errors import Error


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for directory in (
        "proc",
        "sys/kernel/mm/hugepages/hugepages-2048kB",
        "sys/kernel/mm/hugepages/hugepages-1048576kB",
        "cgroup/memory",
        "cgroup/system.slice",
    ):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "proc/status").write_text("CapPrm:\t000001fffeffffff\nCapBnd:\t000001ffffffffff\n")
    (tmp_path / "proc/oom_score_adj").write_text("-17\n")
    return tmp_path


def facts(tree: Path, layout: Layout, *controllers: str) -> HostFacts:
    found = CgroupLayout(
        layout=layout, root=tree / "cgroup", v1=frozenset(controllers), unified=controllers
    )
    return gather(found, proc=tree / "proc", sys=tree / "sys")


def test_capabilities_are_those_both_permitted_and_bounded() -> None:
    status = "CapPrm:\t0000000000000005\nCapEff:\t000000000000000f\nCapBnd:\t0000000000000003\n"
    assert parse_capabilities(status) == ("CAP_CHOWN",)
    assert parse_capabilities("CapPrm:\t1ffffffffff\nCapBnd:\tffffffffffff\n") == KNOWN
    assert parse_capabilities("") == ()


def test_page_sizes_have_the_names_of_kubernetes() -> None:
    assert [page_size_name(size) for size in (64, 2048, 32768, 1048576, 16777216)] == [
        "64KB",
        "2MB",
        "32MB",
        "1GB",
        "16GB",
    ]


def test_without_sys_resource_the_daemons_own_score_is_the_floor(tree: Path) -> None:
    assert facts(tree, Layout.V1).oom_score_floor == -17
    (tree / "proc/status").write_text("CapPrm:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n")
    assert facts(tree, Layout.V1).oom_score_floor == -1000


def test_hugepages_count_only_with_their_controller(tree: Path) -> None:
    assert facts(tree, Layout.V1, "memory").hugepage_sizes == ()
    assert facts(tree, Layout.V1, "hugetlb").hugepage_sizes == ("2MB", "1GB")
    assert facts(tree, Layout.V2, "hugetlb").cgroup_version == 2


def test_swap_accounting_on_both_versions(tree: Path) -> None:
    assert not facts(tree, Layout.V1).swap_accounting
    assert not facts(tree, Layout.V2).swap_accounting
    (tree / "cgroup/memory/memory.memsw.limit_in_bytes").touch()
    (tree / "cgroup/system.slice/memory.swap.max").touch()
    assert facts(tree, Layout.HYBRID).swap_accounting
    assert facts(tree, Layout.V2).swap_accounting


def test_security_modules_are_seen(tree: Path) -> None:
    plain = facts(tree, Layout.V1)
    assert (plain.apparmor, plain.selinux) == (False, False)
    (tree / "sys/module/apparmor/parameters").mkdir(parents=True)
    (tree / "sys/module/apparmor/parameters/enabled").write_text("Y\n")
    (tree / "sys/fs/selinux").mkdir(parents=True)
    (tree / "sys/fs/selinux/enforce").write_text("0")
    confined = facts(tree, Layout.V1)
    assert (confined.apparmor, confined.selinux) == (True, True)


def test_an_unreadable_proc_is_an_error(tree: Path) -> None:
    (tree / "proc/status").unlink()
    with pytest.raises(Error, match=r"cannot read .*status"):
        facts(tree, Layout.V1)
