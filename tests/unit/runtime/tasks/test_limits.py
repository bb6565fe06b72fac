import asyncio
from pathlib import Path

import pytest

from runtime.cgroups import Counters, Limits
from runtime.spec import Resources
from runtime.tasks import State, Task
from runtime.tasks.limits import limited
from store.errors import Error, FailedPreconditionError
from tests.fakes.cgroups import MemoryCgroups

LIMITS = Resources(memory_limit=4096, unified={"memory.high": "1"})


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
    async with limited(cgroups, task, LIMITS):
        cgroups.files["/c"]["memory.max"] = "4096\n"
    assert cgroups.files["/c"] == {"memory.max": "4096\n", "memory.high": "0\n"}


async def test_what_fails_is_taken_back_with_what_the_request_names(
    cgroups: MemoryCgroups, task: Task
) -> None:
    def change() -> None:
        cgroups.files["/c"] = {"memory.max": "4096\n", "memory.high": "1\n"}
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        async with limited(cgroups, task, LIMITS):
            change()
    assert cgroups.files["/c"] == {"memory.max": "max\n", "memory.high": "0\n"}


async def test_a_caller_that_leaves_takes_nothing_half_done(
    cgroups: MemoryCgroups, task: Task
) -> None:
    async def change() -> None:
        async with limited(cgroups, task, LIMITS):
            cgroups.files["/c"]["memory.max"] = "4096\n"
            asked.set()
            await asyncio.Event().wait()

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
        async with limited(cgroups, task, Resources(memory_limit=4095)):
            raise AssertionError
    assert cgroups.files["/c"] == {"memory.max": "max\n"}


async def test_a_task_that_has_just_ended(cgroups: MemoryCgroups, task: Task) -> None:
    del cgroups.members["/c"]
    with pytest.raises(FailedPreconditionError, match=r"update container c1: .*is gone"):
        async with limited(cgroups, task, LIMITS):
            raise AssertionError


class _Stubborn(MemoryCgroups):
    """Refuses to have limits put back."""

    def restore(self, limits: Limits) -> None:
        raise Error(f"cannot put limits back: {limits.directory}/memory.max")


async def test_limits_that_stay_half_changed_are_told_of(task: Task) -> None:
    stubborn = _Stubborn()
    stubborn.members["/c"] = [1]
    with pytest.raises(Error, match=r"^refused; some limits are new now: .*/c/memory\.max"):
        async with limited(stubborn, task, LIMITS):
            raise FailedPreconditionError("refused")
