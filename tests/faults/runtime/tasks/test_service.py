"""Each thing a task needs fails once: what is said, what is left, and whether a retry works."""

import asyncio

import pytest

from runtime.tasks import State
from runtime.tasks.service import TaskService
from store import errors
from tests import programs
from tests.bundles import Program
from tests.fakes.containers import FakeNode, FullRecords
from tests.stage import Stage, create
from tests.waiting import until

REFUSED = errors.FailedPreconditionError("cannot do it: said the runtime")


async def test_nothing_is_left_of_a_create_that_fails(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.refuse["create"] = REFUSED
    await create(tasks, stage, programs.LOYAL)
    with pytest.raises(errors.FailedPreconditionError, match="said the runtime"):
        await tasks.start("test", "a")
    assert tasks.get("test", "a").failure == str(REFUSED)
    await tasks.delete("test", "a")
    assert node.containers == {}
    del node.refuse["create"]
    await tasks.create(stage.task("b", Program(args=programs.LOYAL)))
    assert (await tasks.start("test", "b")).state is State.RUNNING


async def test_an_unexpected_exception_fails_the_task_not_the_service(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.refuse["create"] = RuntimeError("a mistake of ours")
    await create(tasks, stage, programs.LOYAL)
    with pytest.raises(errors.FailedPreconditionError, match="a mistake of ours"):
        await tasks.start("test", "a")


async def test_a_start_that_fails_stops_the_task_with_the_runtimes_words(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.refuse["start"] = REFUSED
    await create(tasks, stage, programs.LOYAL)
    with pytest.raises(errors.FailedPreconditionError, match="said the runtime"):
        await tasks.start("test", "a")
    task = tasks.get("test", "a")
    assert (task.state, task.exit_code, task.failure) == (State.STOPPED, 128, str(REFUSED))
    assert node.containers == {}


async def test_a_delete_of_the_runtime_that_fails_is_tried_again(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    await create(tasks, stage, programs.QUICK)
    node.refuse["delete"] = REFUSED
    await tasks.start("test", "a")
    await tasks.wait("test", "a")
    with pytest.raises(errors.FailedPreconditionError, match="said the runtime"):
        await tasks.delete("test", "a")
    assert tasks.get("test", "a").state is State.STOPPED
    del node.refuse["delete"]
    await tasks.delete("test", "a")
    assert node.containers == {}


async def test_a_full_disk_refuses_a_create_and_leaves_nothing(
    tasks: TaskService, stage: Stage, node: FakeNode, records: FullRecords
) -> None:
    records.full = True
    request = stage.task("a", Program(args=programs.LOYAL))
    with pytest.raises(errors.ResourceExhaustedError):
        await tasks.create(request)
    assert not (stage.path / "tasks" / "test" / "a").exists()
    records.full = False
    await tasks.create(request)
    assert (await tasks.start("test", "a")).state is State.RUNNING
    assert len(node.containers) == 1


async def test_what_cannot_be_recorded_as_created_is_undone(
    tasks: TaskService, stage: Stage, node: FakeNode, records: FullRecords
) -> None:
    node.hang["create"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    await until(lambda: "create" in node.calls)
    records.full = True
    node.hang["create"].set()
    with pytest.raises(errors.FailedPreconditionError):
        await tasks.start("test", "a")
    assert node.containers == {}
    await tasks.delete("test", "a")
    assert tasks.walk() == []
