"""The contract on the kernel's own control groups, v1 and v2, with processes in them."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runtime.cgroups import Cgroups, Counters
from runtime.cgroups.detect import Layout, detect
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from tests.contracts.cgroups import Bench, CgroupsContract, emptied
from tests.waiting import PATIENCE

pytestmark = pytest.mark.root

_ROOT = Path("/sys/fs/cgroup")
# Takes half a megabyte first: what it took before it was in the cgroup is not counted there.
_BUSY = "x=xxxxxxxx; while [ ${#x} -lt 500000 ]; do x=$x$x; done; while :; do y=$((y+1)); done"


class _KernelBench:
    """Directories in real hierarchies, sleeping processes, and nothing of both afterwards."""

    def __init__(self, cgroups: Cgroups, hierarchies: Sequence[Path]) -> None:
        self.cgroups = cgroups
        self.hierarchies = hierarchies
        self._started: list[subprocess.Popen[bytes]] = []

    def make(self, directory: str) -> None:
        for hierarchy in self.hierarchies:
            path = hierarchy
            for part in directory.strip("/").split("/"):
                path = path / part
                path.mkdir(exist_ok=True)
                for limit in ("cpuset.cpus", "cpuset.mems"):
                    if (path / limit).exists():
                        (path / limit).write_text((path.parent / limit).read_text())

    def limit(self, directory: str, memory: int) -> None:
        files = [
            path
            for hierarchy in self.hierarchies
            for name in ("memory.limit_in_bytes", "memory.max")
            if (path := hierarchy / directory[1:] / name).exists()
        ]
        if not files:
            pytest.skip("the memory controller of this machine is not in its v2 tree")
        for path in files:
            path.write_text(str(memory))

    def enter(self, directory: str) -> int:
        return self.start(directory, "exec sleep 1000")

    def start(self, directory: str, script: str) -> int:
        """Start a shell that runs the script once it is in the cgroup.

        A shell of its own: the memory of the one that waited is counted where it came from.
        """
        command = ["sh", "-c", 'read go; exec sh -c "$1"', "sh", script]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self._started.append(process)
        for hierarchy in self.hierarchies:
            (hierarchy / directory[1:] / "cgroup.procs").write_text(str(process.pid))
        if process.stdin is None:
            raise AssertionError
        process.stdin.write(b"go\n")
        process.stdin.close()
        return process.pid

    def exists(self, directory: str) -> bool:
        return any((hierarchy / directory[1:]).is_dir() for hierarchy in self.hierarchies)

    def close(self) -> None:
        self.cgroups.kill("/ferry-test")
        for process in self._started:
            process.wait(timeout=PATIENCE)
        assert emptied(self.cgroups, "/ferry-test")
        self.cgroups.remove("/ferry-test")
        assert not self.exists("/ferry-test")


class TestCgroupsV1(CgroupsContract):
    @pytest.fixture
    def bench(self) -> Iterator[_KernelBench]:
        if detect().layout is Layout.V2:
            pytest.skip("this machine has no cgroup v1")
        hierarchies = [path.parent for path in _ROOT.glob("*/cgroup.procs")]
        bench = _KernelBench(CgroupsV1(), hierarchies)
        yield bench
        bench.close()

    def test_a_busy_process_is_counted(self, bench: _KernelBench) -> None:
        bench.make("/ferry-test/a")
        (_ROOT / "memory/ferry-test/a/memory.limit_in_bytes").write_text(str(32 << 20))
        bench.start("/ferry-test/a", _BUSY)
        counters = _busy(bench.cgroups, "/ferry-test/a")
        assert counters.memory_limit == 32 << 20
        assert counters.memory_usage is not None
        assert counters.memory_working_set is not None
        assert 0 < counters.memory_working_set <= counters.memory_usage <= 32 << 20
        assert counters.memory_rss is not None
        assert counters.swap_usage == 0
        detailed = bench.cgroups.read("/ferry-test/a", detailed=True)
        assert (detailed.extra["cpu_shares"], detailed.pids) == (1024, 1)
        assert detailed.extra["oom_kills"] == 0
        assert detailed.cpu_user is not None

    def test_a_process_that_runs_out_of_memory_is_counted(self, bench: _KernelBench) -> None:
        bench.make("/ferry-test/a")
        memory = _ROOT / "memory/ferry-test/a"
        (memory / "memory.limit_in_bytes").write_text(str(8 << 20))
        (memory / "memory.memsw.limit_in_bytes").write_text(str(8 << 20))
        assert bench.cgroups.oom_kills("/ferry-test/a") == 0
        bench.start("/ferry-test/a", "x=xxxxxxxx; while :; do x=$x$x; done")
        assert emptied(bench.cgroups, "/ferry-test/a")
        assert bench.cgroups.oom_kills("/ferry-test/a") == 1

    def test_kill_outruns_a_program_that_keeps_forking(self, bench: _KernelBench) -> None:
        bench.make("/ferry-test/a")
        (_ROOT / "pids/ferry-test/a/pids.max").write_text("40")
        script = "while :; do (while :; do sleep 0.001 & sleep 0.001; done) & sleep 0.01; done"
        for _ in range(3):
            bench.start("/ferry-test/a", f"{script} 2>/dev/null")
        _busy(bench.cgroups, "/ferry-test/a")
        bench.cgroups.kill("/ferry-test/a")
        assert emptied(bench.cgroups, "/ferry-test/a")
        state = (_ROOT / "freezer/ferry-test/a/freezer.state").read_text().strip()
        assert state == "THAWED"


class TestCgroupsV2(CgroupsContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        """Use the v2 tree wherever it is; on v1 machines it has cpu.stat and few controllers."""
        tree = tmp_path / "cgroup2"
        tree.mkdir()
        subprocess.run(["mount", "-t", "cgroup2", "none", tree], check=True)
        bench = _KernelBench(CgroupsV2(tree), [tree])
        yield bench
        bench.close()
        subprocess.run(["umount", tree], check=True)

    def test_a_busy_process_is_counted(self, bench: _KernelBench) -> None:
        bench.make("/ferry-test/a")
        bench.start("/ferry-test/a", _BUSY)
        counters = _busy(bench.cgroups, "/ferry-test/a")
        assert counters.cpu_user is not None
        assert counters.cpu_system is not None
        pressure = counters.cpu_pressure
        if (_ROOT / "unified/cpu.pressure").exists() or Path("/proc/pressure/cpu").exists():
            assert pressure is not None
            assert pressure.some is not None
            assert pressure.some.total >= 0


def _busy(cgroups: Cgroups, directory: str) -> Counters:
    """Read until a millisecond of CPU time and some memory show."""
    deadline = time.monotonic() + PATIENCE
    while True:
        counters = cgroups.read(directory)
        if (counters.cpu_usage or 0) >= 1_000_000 and counters.memory_usage != 0:
            return counters
        assert time.monotonic() < deadline
        time.sleep(0.002)
