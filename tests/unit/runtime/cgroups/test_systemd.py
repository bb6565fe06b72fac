from pathlib import Path

import pytest

from runtime.cgroups.systemd import SystemdCgroups
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
