"""What goes on behind the answers, on fakes."""

import asyncio
import signal
from dataclasses import dataclass, replace

import pytest

from runtime.tasks import State, Task
from runtime.tasks.service import TaskService
from store.metadata.records import MemoryRecords
from tests import programs
from tests.fakes.cgroups import MemoryCgroups
from tests.fakes.containers import FakeNode, FullRecords
from tests.stage import Stage, create
from tests.waiting import until


async def test_no_more_runtimes_create_at_once_than_allowed(stage: Stage, node: FakeNode) -> None:
    node.hang["create"] = asyncio.Event()
    parts = replace(stage.parts(), creates=2)
    async with TaskService(MemoryRecords[Task]("task"), parts) as tasks:
        for number in range(5):
            await create(tasks, stage, programs.LOYAL, f"c{number}")
        await until(lambda: node.calls.count("create") == 2)
        node.hang["create"].set()
        for number in range(5):
            await tasks.start("test", f"c{number}")
    assert node.calls.count("create") == 5


async def test_a_hanging_create_keeps_no_other_task(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["create"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL, "stuck")
    await until(lambda: "create" in node.calls)
    del node.hang["create"]
    await create(tasks, stage, programs.LOYAL, "b")
    assert (await tasks.start("test", "b")).state is State.RUNNING
    await tasks.delete("test", "b")
    await tasks.delete("test", "stuck")
    assert tasks.walk() == []


async def test_an_end_on_a_full_disk_is_recorded_later_and_delete_works_meanwhile(
    tasks: TaskService,
    stage: Stage,
    records: FullRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.tasks.keeper._RETRY", 0.01)
    for id_ in ("a", "b"):
        await create(tasks, stage, programs.LOYAL, id_)
        await tasks.start("test", id_)
    records.full = True
    for id_ in ("a", "b"):
        assert (await tasks.stop("test", id_, signal.SIGTERM, 5)).exit_code == 3
    await tasks.delete("test", "a")
    records.full = False
    await until(lambda: tasks.get("test", "b").state is State.STOPPED)


@dataclass(frozen=True)
class Case:
    marked: bool
    kills: int
    there: bool
    told: bool


@pytest.mark.parametrize(
    "case",
    [
        Case(marked=False, kills=0, there=True, told=False),
        Case(marked=False, kills=2, there=True, told=True),
        Case(marked=True, kills=0, there=True, told=False),
        Case(marked=True, kills=0, there=False, told=True),
        Case(marked=True, kills=1, there=True, told=True),
    ],
)
async def test_the_kernels_counter_beats_the_monitors_mark_while_it_is_there(
    tasks: TaskService, stage: Stage, node: FakeNode, case: Case
) -> None:
    await create(tasks, stage, programs.FOREVER)
    await tasks.start("test", "a")
    cgroups = stage.cgroups
    assert isinstance(cgroups, MemoryCgroups)
    if case.there:
        cgroups.members["/ferry-test/a"] = []
    cgroups.kills["/ferry-test/a"] = case.kills
    next(iter(node.requests.values())).oom = case.marked
    stopped = await tasks.stop("test", "a", signal.SIGKILL, 0)
    assert stopped.oom_killed is case.told
