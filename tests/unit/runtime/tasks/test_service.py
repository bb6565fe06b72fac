"""The service and its callers, on fakes."""

import asyncio
import signal

from runtime.tasks import State, Task
from runtime.tasks.service import TaskService
from store import errors
from tests import programs
from tests.fakes.containers import FakeNode
from tests.stage import Stage, create
from tests.waiting import until


async def swallowed(work: "asyncio.Future[Task] | object") -> Exception | None:
    try:
        await work  # type: ignore[misc]  # a coroutine
    except errors.Error as error:
        return error
    return None


async def test_a_start_whose_process_ends_is_cut_short(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["start"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(swallowed(tasks.start("test", "a")))
        await until(lambda: "start" in node.calls)
        await tasks.stop("test", "a", signal.SIGTERM, 0)
    assert isinstance(starting.result(), errors.FailedPreconditionError)
    assert tasks.get("test", "a").state is State.STOPPED


async def test_a_caller_that_leaves_does_not_stop_a_start(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["start"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(tasks.start("test", "a"))
        await until(lambda: "start" in node.calls)
        leaving.cancel()
    node.hang["start"].set()
    await until(lambda: tasks.get("test", "a").state is State.RUNNING)
