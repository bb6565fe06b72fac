"""Readings of v2 from a fabricated tree: development machines may have v1."""

import subprocess
from pathlib import Path

import pytest

from runtime.cgroups import DeviceIo, Hugepages, Pressure, Stall
from runtime.cgroups.v2 import CgroupsV2
from store.errors import NotFoundError
from tests.waiting import PATIENCE

_FILES = {
    "memory.current": "1000\n",
    "memory.max": "5000\n",
    "memory.peak": "2000\n",
    "memory.swap.current": "300\n",
    "memory.swap.max": "max\n",
    "memory.stat": (
        "anon 250\nfile 500\nkernel 70\nfile_mapped 60\ninactive_file 400\n"
        "pgfault 11\npgmajfault 2\n"
    ),
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 4\noom_group_kill 0\n",
    "cpu.stat": (
        "usage_usec 9000\nuser_usec 6000\nsystem_usec 3000\n"
        "nr_periods 10\nnr_throttled 5\nthrottled_usec 2\n"
    ),
    "cpu.max": "50000 100000\n",
    "cpu.weight": "20\n",
    "pids.current": "6\n",
    "pids.max": "100\n",
    "memory.low": "800\n",
    "cpu.pressure": "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n",
    "memory.pressure": "some avg10=0.00 avg60=2.00 avg300=0.00 total=6\n",
    "io.pressure": "full avg10=0.00 avg60=0.00 avg300=3.00 total=7\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    "hugetlb.2MB.current": "2097152\n",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "kubepods.slice/c.scope"
    top.mkdir(parents=True)
    for name, text in _FILES.items():
        (top / name).write_text(text)
    return top


@pytest.fixture
def cgroups(tmp_path: Path, top: Path) -> CgroupsV2:
    assert top.is_dir()
    return CgroupsV2(tmp_path, ("2MB", "1GB"))


def test_every_counter(cgroups: CgroupsV2) -> None:
    counters = cgroups.read("/kubepods.slice/c.scope", detailed=True)
    assert (counters.cpu_usage, counters.cpu_user, counters.cpu_system) == (
        9_000_000,
        6_000_000,
        3_000_000,
    )
    assert (counters.memory_usage, counters.memory_working_set, counters.memory_rss) == (
        1000,
        600,
        250,
    )
    assert (counters.memory_limit, counters.swap_usage, counters.swap_limit) == (5000, 300, None)
    assert (counters.page_faults, counters.major_page_faults, counters.pids) == (11, 2, 6)
    assert counters.extra == {
        "cpu_cfs_periods": 10,
        "cpu_cfs_throttled_periods": 5,
        "cpu_cfs_throttled_ns": 2000,
        "cpu_quota": 50000,
        "cpu_period": 100000,
        "cpu_weight": 20,
        "memory_cache": 500,
        "memory_mapped_file": 60,
        "memory_kernel_usage": 70,
        "memory_failcnt": 3,
        "memory_max_usage": 2000,
        "pids_max": 100,
        "memory_reservation": 800,
        "oom_kills": 4,
    }
    assert cgroups.oom_kills("/kubepods.slice/c.scope") == 4
    assert counters.cpu_pressure == Pressure(some=Stall(total=5, avg10=1, avg60=0, avg300=0))
    assert counters.memory_pressure == Pressure(some=Stall(total=6, avg10=0, avg60=2, avg300=0))
    assert counters.io_pressure == Pressure(full=Stall(total=7, avg10=0, avg60=0, avg300=3))
    assert counters.devices == (
        DeviceIo(major=8, minor=0, read_bytes=10, written_bytes=20, reads=1, writes=2),
    )
    assert counters.hugepages == (Hugepages(page_size="2MB", usage=2 << 20),)


def test_a_plain_reading_has_pressure_but_no_devices(cgroups: CgroupsV2) -> None:
    plain = cgroups.read("/kubepods.slice/c.scope")
    assert (plain.memory_limit, plain.swap_usage, plain.pids) == (5000, 300, None)
    assert plain.cpu_pressure is not None
    assert (plain.devices, plain.hugepages) == ((), ())
    assert "memory_max_usage" not in plain.extra


def test_no_quota_reads_as_on_v1(cgroups: CgroupsV2, top: Path) -> None:
    (top / "cpu.max").write_text("max 100000\n")
    counters = cgroups.read("/kubepods.slice/c.scope", detailed=True)
    assert counters.extra["cpu_quota"] == -1


def test_a_working_set_is_never_negative(cgroups: CgroupsV2, top: Path) -> None:
    (top / "memory.current").write_text("100\n")
    assert cgroups.read("/kubepods.slice/c.scope").memory_working_set == 0


def test_a_cgroup_without_files_reads_as_nothing_known(cgroups: CgroupsV2, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    counters = cgroups.read("/bare", detailed=True)
    assert (counters.cpu_usage, counters.memory_usage, counters.memory_working_set) == (
        None,
        None,
        None,
    )
    assert counters.extra == {}


def test_what_is_gone_is_not_found(cgroups: CgroupsV2) -> None:
    with pytest.raises(NotFoundError, match=r"/kubepods\.slice/gone"):
        cgroups.read("/kubepods.slice/gone")


def test_kill_is_one_write_where_the_kernel_has_it(cgroups: CgroupsV2, top: Path) -> None:
    (top / "cgroup.kill").write_text("")
    (top / "cgroup.procs").write_text("1\n")
    cgroups.kill("/kubepods.slice/c.scope")
    assert (top / "cgroup.kill").read_text() == "1"


def test_kill_on_older_kernels_signals_each(cgroups: CgroupsV2, top: Path) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    (top / "cgroup.procs").write_text(f"{process.pid}\n")
    cgroups.kill("/kubepods.slice/c.scope")
    assert process.wait(timeout=PATIENCE) == -9
