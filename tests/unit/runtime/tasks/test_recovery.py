"""Recovery, record by record, on fakes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.tasks import State, Task
from store.errors import FailedPreconditionError
from tests import programs
from tests.fakes.containers import FakeNode, FullRecords
from tests.stage import Stage, create
from tests.waiting import until

Corrupt = Callable[[Task], Task]


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (lambda task: replace(task, process=None), "names no process"),
        (lambda task: replace(task, monitor=None), "names no process"),
        (lambda task: replace(task, handler="gone"), "handler 'gone'"),
    ],
)
async def test_a_record_without_sense_is_unknown_and_can_be_deleted(
    stage: Stage, records: FullRecords, corrupt: Corrupt, reason: str
) -> None:
    async with stage.service(records) as tasks:
        for id_ in ("a", "b"):
            await create(tasks, stage, programs.LOYAL, id_)
            await tasks.start("test", id_)
    records.update("test", "a", corrupt)
    async with stage.service(records) as tasks:
        await tasks.recover()
        task = tasks.get("test", "a")
        assert task.state is State.UNKNOWN
        assert reason in task.message
        assert tasks.get("test", "b").state is State.RUNNING
        await tasks.delete("test", "a")
        assert tasks.find("test", "a") is None


async def test_after_a_reboot_everything_has_ended(stage: Stage, records: FullRecords) -> None:
    async with stage.service(records) as tasks:
        for id_ in ("a", "b"):
            await create(tasks, stage, programs.LOYAL, id_)
        await tasks.start("test", "a")
        await until(lambda: tasks.get("test", "b").state is State.CREATED)
    async with stage.service(records) as tasks:
        await tasks.recover(rebooted=True)
        for id_ in ("a", "b"):
            task = tasks.get("test", id_)
            assert (task.state, task.exit_code) == (State.STOPPED, 255)
            assert "restarted" in task.message


async def test_a_start_the_daemon_could_not_record_is_caught_up_with(
    stage: Stage, records: FullRecords
) -> None:
    async with stage.service(records) as tasks:
        await create(tasks, stage, programs.LOYAL)
        running = await tasks.start("test", "a")
    records.put("test", "a", replace(running, state=State.CREATED, started_at=0))
    async with stage.service(records) as tasks:
        await tasks.recover()
        task = tasks.get("test", "a")
        assert task.state is State.RUNNING
        assert task.started_at > 0


async def test_a_create_the_daemon_could_not_record_is_adopted(
    stage: Stage, records: FullRecords
) -> None:
    async with stage.service(records) as tasks:
        await create(tasks, stage, programs.LOYAL)
        await until(lambda: tasks.get("test", "a").state is State.CREATED)
    cut = replace(records.get("test", "a"), state=State.CREATING, process=None, monitor=None)
    records.put("test", "a", cut)
    async with stage.service(records) as tasks:
        await tasks.recover()
        assert tasks.get("test", "a").state is State.CREATED
        assert (await tasks.start("test", "a")).state is State.RUNNING


async def test_a_create_that_never_came_to_be_begins_anew(
    stage: Stage, records: FullRecords, node: FakeNode
) -> None:
    async with stage.service(records) as tasks:
        await create(tasks, stage, programs.LOYAL)
        await until(lambda: tasks.get("test", "a").state is State.CREATED)
    cut = replace(records.get("test", "a"), state=State.CREATING, process=None, monitor=None)
    records.put("test", "a", cut)
    node.requests.clear()
    (left,) = node.containers.values()
    stale = cut.directory / "exits" / "a"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text("137")
    async with stage.service(records) as tasks:
        await tasks.recover()
        assert (await tasks.start("test", "a")).state is State.RUNNING
        (again,) = node.containers.values()
        assert again is not left
        assert left.state == "stopped"
        assert not stale.exists()


async def test_a_create_that_cannot_begin_anew_is_a_failure(
    stage: Stage, records: FullRecords, node: FakeNode
) -> None:
    async with stage.service(records) as tasks:
        await create(tasks, stage, programs.LOYAL)
        await until(lambda: tasks.get("test", "a").state is State.CREATED)
    cut = replace(records.get("test", "a"), state=State.CREATING, process=None, monitor=None)
    records.put("test", "a", cut)
    node.requests.clear()
    node.refuse["create"] = FailedPreconditionError("no room")
    async with stage.service(records) as tasks:
        await tasks.recover()
        with pytest.raises(FailedPreconditionError, match="no room"):
            await tasks.start("test", "a")
        assert tasks.get("test", "a").state is State.STOPPED
