"""Readings of v1 from a fabricated tree; the kernel's own is in tests/root."""

from pathlib import Path

import pytest

from runtime.cgroups.v1 import CgroupsV1
from store.errors import NotFoundError

_FILES = {
    "memory/pod/c/memory.usage_in_bytes": "1000\n",
    "memory/pod/c/memory.limit_in_bytes": "5000\n",
    "memory/pod/c/memory.memsw.usage_in_bytes": "1300\n",
    "memory/pod/c/memory.memsw.limit_in_bytes": "6000\n",
    "memory/pod/c/memory.max_usage_in_bytes": "2000\n",
    "memory/pod/c/memory.failcnt": "3\n",
    "memory/pod/c/memory.kmem.usage_in_bytes": "70\n",
    "memory/pod/c/memory.stat": (
        "inactive_file 1\ntotal_inactive_file 400\ntotal_rss 300\ntotal_pgfault 11\n"
        "total_pgmajfault 2\ntotal_cache 500\ntotal_mapped_file 60\n"
    ),
    "memory/pod/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    "cpuacct/pod/c/cpuacct.usage": "9000000\n",
    "cpuacct/pod/c/cpuacct.usage_user": "6000000\n",
    "cpuacct/pod/c/cpuacct.usage_sys": "3000000\n",
    "cpuacct/pod/c/cpuacct.stat": "user 7\nsystem 8\n",
    "cpu/pod/c/cpu.stat": "nr_periods 10\nnr_throttled 5\nthrottled_time 123\n",
    "cpu/pod/c/cpu.shares": "512\n",
    "cpu/pod/c/cpu.cfs_quota_us": "-1\n",
    "cpu/pod/c/cpu.cfs_period_us": "100000\n",
    "pids/pod/c/pids.current": "6\n",
    "pids/pod/c/pids.max": "max\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in _FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name.split("/")[0] / "cgroup.procs").touch()
    return tmp_path


def test_every_counter(root: Path) -> None:
    counters = CgroupsV1(root).read("/pod/c")
    assert (counters.cpu_usage, counters.cpu_user, counters.cpu_system) == (
        9_000_000,
        6_000_000,
        3_000_000,
    )
    assert (counters.memory_usage, counters.memory_working_set, counters.memory_rss) == (
        1000,
        600,
        300,
    )
    assert (counters.memory_limit, counters.swap_usage, counters.swap_limit) == (5000, 300, 1000)
    assert (counters.page_faults, counters.major_page_faults, counters.pids) == (11, 2, 6)
    assert counters.extra == {
        "cpu_cfs_periods": 10,
        "cpu_cfs_throttled_periods": 5,
        "cpu_cfs_throttled_ns": 123,
        "memory_cache": 500,
        "memory_mapped_file": 60,
        "memory_failcnt": 3,
        "memory_max_usage": 2000,
        "memory_kernel_usage": 70,
        "cpu_shares": 512,
        "cpu_quota": -1,
        "cpu_period": 100000,
    }
    assert CgroupsV1(root).oom_kills("/pod/c") == 4


def test_no_limit_is_none_and_old_kernels_count_ticks(root: Path) -> None:
    (root / "memory/pod/c/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / "cpuacct/pod/c/cpuacct.usage_user").unlink()
    counters = CgroupsV1(root).read("/pod/c")
    assert counters.memory_limit is None
    assert counters.swap_limit is None
    assert (counters.cpu_user, counters.cpu_system) == (70_000_000, 80_000_000)


def test_what_vanishes_while_it_is_read_is_not_found(root: Path) -> None:
    for controller in ("memory", "cpuacct", "cpu", "pids"):
        (root / controller / "pod").rename(root / controller / "gone")
    with pytest.raises(NotFoundError, match="/pod/c"):
        CgroupsV1(root).read("/pod/c")


def test_a_controller_that_is_missing_leaves_its_counters_out(root: Path) -> None:
    (root / "memory").rename(root / "elsewhere")
    counters = CgroupsV1(root).read("/pod/c")
    assert counters.memory_usage is None
    assert counters.cpu_usage == 9_000_000


def test_processes_of_every_hierarchy_but_no_link_and_no_plain_directory(root: Path) -> None:
    (root / "cpu/pod/c/cgroup.procs").write_text("7\n")
    (root / "memory/pod/c/cgroup.procs").write_text("8\n")
    (root / "plain/pod/c").mkdir(parents=True)
    (root / "plain/pod/c/cgroup.procs").write_text("9\n")
    (root / "link").symlink_to(root / "plain")
    assert CgroupsV1(root).pids("/pod") == [7, 8]
