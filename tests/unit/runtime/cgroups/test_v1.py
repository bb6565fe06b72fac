"""Readings of v1 from a fabricated tree; the kernel's own is in tests/root."""

from pathlib import Path

import pytest

from runtime.cgroups import DeviceIo, Hugepages, Pressure, Stall
from runtime.cgroups.v1 import CgroupsV1
from store.errors import NotFoundError

_FILES = {
    "memory/pod/c/memory.usage_in_bytes": "1000\n",
    "memory/pod/c/memory.limit_in_bytes": "5000\n",
    "memory/pod/c/memory.memsw.limit_in_bytes": "6000\n",
    "memory/pod/c/memory.max_usage_in_bytes": "2000\n",
    "memory/pod/c/memory.failcnt": "3\n",
    "memory/pod/c/memory.kmem.usage_in_bytes": "70\n",
    "memory/pod/c/memory.stat": (
        "inactive_file 1\ntotal_inactive_file 400\ntotal_rss 300\ntotal_pgfault 11\n"
        "total_pgmajfault 2\ntotal_cache 500\ntotal_mapped_file 60\ntotal_swap 300\n"
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
    "memory/pod/c/memory.soft_limit_in_bytes": "800\n",
    "blkio/pod/c/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n",
    "blkio/pod/c/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n",
    "hugetlb/pod/c/hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb/pod/c/hugetlb.2MB.max_usage_in_bytes": "4194304\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in _FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name.split("/")[0] / "cgroup.procs").touch()
    return tmp_path


def test_every_counter(root: Path) -> None:
    counters = CgroupsV1(root, ("2MB", "1GB")).read("/pod/c", detailed=True)
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
        "memory_reservation": 800,
        "oom_kills": 4,
    }
    assert CgroupsV1(root).oom_kills("/pod/c") == 4
    assert counters.devices == (
        DeviceIo(major=8, minor=0, read_bytes=10, written_bytes=20, reads=1, writes=2),
    )
    assert counters.hugepages == (Hugepages(page_size="2MB", usage=2 << 20, max_usage=4 << 20),)
    assert counters.cpu_pressure is None


def test_a_plain_reading_has_what_lists_show(root: Path) -> None:
    cgroups = CgroupsV1(root, ("2MB",))
    plain, detailed = cgroups.read("/pod/c"), cgroups.read("/pod/c", detailed=True)
    for name in ("cpu_usage", "memory_working_set", "memory_limit", "swap_usage", "page_faults"):
        assert getattr(plain, name) == getattr(detailed, name)
    assert (plain.cpu_user, plain.pids, plain.devices, plain.hugepages) == (None, None, (), ())
    assert plain.extra == {"memory_cache": 500, "memory_mapped_file": 60}


def test_pressure_is_told_by_the_unified_part_of_a_hybrid_layout(root: Path) -> None:
    unified = root / "unified/pod/c"
    unified.mkdir(parents=True)
    (root / "unified/cgroup.procs").touch()
    (unified / "io.pressure").write_text("some avg10=0.00 avg60=0.00 avg300=2.50 total=9\n")
    counters = CgroupsV1(root).read("/pod/c")
    assert counters.io_pressure == Pressure(some=Stall(total=9, avg10=0, avg60=0, avg300=2.5))
    assert counters.cpu_pressure is None


def test_processes_are_those_of_the_pids_controller(root: Path) -> None:
    (root / "pids/pod/c/below").mkdir()
    (root / "pids/pod/c/cgroup.procs").write_text("7\n")
    (root / "pids/pod/c/below/cgroup.procs").write_text("9\n")
    (root / "memory/pod/c/cgroup.procs").write_text("8\n")
    assert CgroupsV1(root).processes("/pod") == [7, 9]


def test_no_limit_is_none_and_old_kernels_count_ticks(root: Path) -> None:
    (root / "memory/pod/c/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / "cpuacct/pod/c/cpuacct.usage_user").unlink()
    (root / "memory/pod/c/memory.soft_limit_in_bytes").write_text("9223372036854771712\n")
    counters = CgroupsV1(root).read("/pod/c", detailed=True)
    assert counters.memory_limit is None
    assert counters.swap_limit is None
    assert "memory_reservation" not in counters.extra
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
