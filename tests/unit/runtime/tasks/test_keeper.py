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
    kills: int | None
    log: bool | None
    told: bool


@pytest.mark.parametrize(
    "case",
    [
        Case(marked=False, kills=0, log=True, told=False),
        Case(marked=False, kills=2, log=False, told=True),
        Case(marked=True, kills=0, log=True, told=False),
        Case(marked=True, kills=1, log=None, told=True),
        Case(marked=True, kills=None, log=None, told=True),
        Case(marked=True, kills=None, log=True, told=True),
        Case(marked=True, kills=None, log=False, told=False),
        Case(marked=False, kills=None, log=True, told=True),
        Case(marked=False, kills=None, log=None, told=False),
    ],
)
async def test_the_kernels_counter_beats_its_log_and_that_the_monitors_mark(
    tasks: TaskService, stage: Stage, node: FakeNode, case: Case
) -> None:
    await create(tasks, stage, programs.FOREVER)
    await tasks.start("test", "a")
    cgroups = stage.cgroups
    assert isinstance(cgroups, MemoryCgroups)
    if case.kills is None:
        del cgroups.members["/ferry-test/a"]
    else:
        cgroups.kills["/ferry-test/a"] = case.kills
    container = next(iter(node.requests.values()))
    container.oom = case.marked
    if case.log is not None:
        node.log = {container.first} if case.log else set()
    container.end(137)
    assert (await tasks.wait("test", "a")).oom_killed is case.told


async def test_what_was_stopped_was_not_killed_for_memory(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    await create(tasks, stage, programs.FOREVER)
    await tasks.start("test", "a")
    node.log = {"/ferry-test/a"}
    assert not (await tasks.stop("test", "a", signal.SIGKILL, 0)).oom_killed
