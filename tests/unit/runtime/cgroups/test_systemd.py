from pathlib import Path

import pytest

from runtime.cgroups.systemd import SystemdCgroups, properties
from runtime.cgroups.v2 import CgroupsV2
from store.errors import Error, FailedPreconditionError
from tests.contracts.cgroups import CgroupsContract
from tests.fakes.cgroups import MemoryBench, MemoryCgroups

POD = "/ferry.slice/ferry-a.slice"


class TestSystemdCgroups(CgroupsContract):
    @pytest.fixture
    def bench(self) -> MemoryBench:
        memory = MemoryBench()
        memory.cgroups = SystemdCgroups(memory.memory, "/bin/false")
        return memory


@pytest.fixture
def memory() -> MemoryCgroups:
    cgroups = MemoryCgroups()
    cgroups.members.update({POD: [], f"{POD}/ferry-1.scope": []})
    return cgroups


def program(folder: Path, code: int) -> str:
    """Write a systemctl that notes what it is asked."""
    path = folder / "systemctl"
    path.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\necho sorry >&2\nexit {code}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("code", [0, 5], ids=["stopped", "not loaded"])
def test_a_slice_is_stopped_once_it_is_empty(
    memory: MemoryCgroups, tmp_path: Path, code: int
) -> None:
    SystemdCgroups(memory, program(tmp_path, code)).remove(POD)
    assert memory.members == {}
    assert (tmp_path / "asked").read_text() == "stop -- ferry-a.slice\n"


def test_a_scope_ends_by_itself(memory: MemoryCgroups, tmp_path: Path) -> None:
    SystemdCgroups(memory, program(tmp_path, 1)).remove(f"{POD}/ferry-1.scope")
    assert list(memory.members) == [POD]
    assert not (tmp_path / "asked").exists()


def test_a_slice_with_processes_is_left_alone(memory: MemoryCgroups, tmp_path: Path) -> None:
    memory.members[f"{POD}/ferry-1.scope"] = [42]
    with pytest.raises(FailedPreconditionError, match="42"):
        SystemdCgroups(memory, program(tmp_path, 0)).remove(POD)
    assert not (tmp_path / "asked").exists()


def test_systemds_refusal_is_quoted(memory: MemoryCgroups, tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"cannot stop ferry-a\.slice: sorry"):
        SystemdCgroups(memory, program(tmp_path, 1)).remove(POD)


def test_without_systemctl(memory: MemoryCgroups, tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"cannot stop ferry-a\.slice: .*No such file"):
        SystemdCgroups(memory, str(tmp_path / "none")).remove(POD)


SCOPE = "/ferry.slice/ferry-1.scope"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "cgroup"
    (top / SCOPE[1:]).mkdir(parents=True)
    for name, text in {
        "memory.max": "max\n",
        "cpu.weight": "20\n",
        "cpu.max": "max 100000\n",
    }.items():
        (top / SCOPE[1:] / name).write_text(text)
    return top


def test_systemd_is_told_of_what_is_put_back(tree: Path, tmp_path: Path) -> None:
    cgroups = SystemdCgroups(CgroupsV2(tree), program(tmp_path, 0))
    before = cgroups.limits(SCOPE)
    cgroups.restore(before)
    assert not (tmp_path / "asked").exists()
    (tree / SCOPE[1:] / "memory.max").write_text("512\n")
    cgroups.restore(before)
    assert (tmp_path / "asked").read_text() == (
        "set-property --runtime ferry-1.scope MemoryMax=infinity\n"
    )
    assert cgroups.limits(SCOPE) == before


def test_the_files_are_put_back_whatever_systemd_says(tree: Path, tmp_path: Path) -> None:
    cgroups = SystemdCgroups(CgroupsV2(tree), program(tmp_path, 1))
    before = cgroups.limits(SCOPE)
    (tree / SCOPE[1:] / "cpu.weight").write_text("10\n")
    with pytest.raises(Error, match=r"put back the limits of ferry-1\.scope: sorry"):
        cgroups.restore(before)
    assert cgroups.limits(SCOPE) == before


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("cpu.max", "50000 100000\n", ["CPUQuota=50%", "CPUQuotaPeriodSec=100000us"]),
        ("cpu.max", "max 100000\n", ["CPUQuota=", "CPUQuotaPeriodSec=100000us"]),
        ("cpuset.cpus", "\n", ["AllowedCPUs="]),
        ("cpuset.mems", "0\n", ["AllowedMemoryNodes=0"]),
        ("memory.swap.max", "0\n", ["MemorySwapMax=0"]),
        ("memory.high", "max\n", ["MemoryHigh=infinity"]),
        ("memory.limit_in_bytes", "8192\n", ["MemoryLimit=8192"]),
        ("cpu.shares", "512\n", ["CPUShares=512"]),
        ("memory.oom.group", "1\n", []),
    ],
)
def test_properties_of_a_unit(file: str, text: str, told: list[str]) -> None:
    assert properties({file: text}) == told
