import asyncio
from pathlib import Path

import msgspec
import pytest

from runtime.cgroups import Counters, Limits
from runtime.spec import Resources
from runtime.tasks import State, Task
from runtime.tasks.limits import limited, put_back_interrupted
from store.errors import Error, FailedPreconditionError
from tests.fakes.cgroups import MemoryCgroups

LIMITS = Resources(memory_limit=4096, unified={"memory.high": "1"})


async def never() -> None:
    raise AssertionError


async def refuse() -> None:
    raise FailedPreconditionError("refused")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(
        namespace="ns",
        id="c1",
        handler="crun",
        bundle=tmp_path,
        directory=tmp_path,
        state=State.RUNNING,
        cgroup="/c",
    )


@pytest.fixture
def cgroups() -> MemoryCgroups:
    found = MemoryCgroups()
    found.members["/c"] = [1]
    found.files["/c"] = {"memory.max": "max\n"}
    found.counters["/c"] = Counters(timestamp=1, memory_working_set=4096)
    return found


async def test_what_goes_well_stays(cgroups: MemoryCgroups, task: Task) -> None:
    async def apply() -> None:
        assert journal.exists()
        cgroups.files["/c"]["memory.max"] = "4096\n"

    journal = task.directory / "limits.json"
    async with limited(cgroups, task, LIMITS, apply):
        assert not journal.exists()
    assert cgroups.files["/c"] == {"memory.max": "4096\n", "memory.high": "0\n"}


async def test_what_fails_is_taken_back_with_what_the_request_names(
    cgroups: MemoryCgroups, task: Task
) -> None:
    async def apply() -> None:
        cgroups.files["/c"] = {"memory.max": "4096\n", "memory.high": "1\n"}
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        async with limited(cgroups, task, LIMITS, apply):
            raise AssertionError
    assert list(task.directory.iterdir()) == []
    assert cgroups.files["/c"] == {"memory.max": "max\n", "memory.high": "0\n"}


async def test_a_caller_that_leaves_takes_nothing_half_done(
    cgroups: MemoryCgroups, task: Task
) -> None:
    async def apply() -> None:
        cgroups.files["/c"]["memory.max"] = "4096\n"
        asked.set()
        await asyncio.Event().wait()

    async def change() -> None:
        async with limited(cgroups, task, LIMITS, apply):
            raise AssertionError

    asked = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        await asked.wait()
        changing.cancel()
    assert cgroups.files["/c"]["memory.max"] == "max\n"


async def test_less_memory_than_it_uses_is_refused_before_anything(
    cgroups: MemoryCgroups, task: Task
) -> None:
    with pytest.raises(
        FailedPreconditionError, match=r"update container c1: it uses 4096 bytes.*limit of 4095"
    ):
        async with limited(cgroups, task, Resources(memory_limit=4095), never):
            raise AssertionError
    assert cgroups.files["/c"] == {"memory.max": "max\n"}


async def test_a_task_that_has_just_ended(cgroups: MemoryCgroups, task: Task) -> None:
    del cgroups.members["/c"]
    with pytest.raises(FailedPreconditionError, match=r"update container c1: .*is gone"):
        async with limited(cgroups, task, LIMITS, never):
            raise AssertionError


class _Stubborn(MemoryCgroups):
    """Refuses to have limits put back."""

    def restore(self, limits: Limits) -> None:
        raise Error(f"cannot put limits back: {limits.directory}/memory.max")


async def test_limits_that_stay_half_changed_are_told_of(task: Task) -> None:
    stubborn = _Stubborn()
    stubborn.members["/c"] = [1]
    with pytest.raises(Error, match=r"^refused; some limits are new now: .*/c/memory\.max"):
        async with limited(stubborn, task, LIMITS, refuse):
            raise AssertionError
    assert (task.directory / "limits.json").exists(), "the next daemon tries again"


def test_what_a_dead_daemon_was_changing_is_put_back(cgroups: MemoryCgroups, task: Task) -> None:
    before = cgroups.limits("/c", ["memory.high"])
    (task.directory / "limits.json").write_bytes(msgspec.json.encode(before))
    cgroups.files["/c"] = {"memory.max": "4096\n", "memory.high": "1\n"}
    put_back_interrupted(cgroups, task)
    assert cgroups.limits("/c") == before
    assert list(task.directory.iterdir()) == []
    cgroups.files["/c"]["memory.max"] = "4096\n"
    put_back_interrupted(cgroups, task)
    assert cgroups.files["/c"]["memory.max"] == "4096\n"


@pytest.mark.parametrize("text", ["", "{}", "nonsense"])
def test_a_damaged_note_changes_nothing(
    cgroups: MemoryCgroups, task: Task, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (task.directory / "limits.json").write_text(text)
    put_back_interrupted(cgroups, task)
    assert cgroups.files["/c"] == {"memory.max": "max\n"}
    assert "limits of task ns/c1 stay as they are" in caplog.text
