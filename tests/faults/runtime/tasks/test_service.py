"""Each thing a task needs fails once: what is said, what is left, and whether a retry works."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.tasks import State, Task
from runtime.tasks.service import TaskService
from store import errors
from store.metadata.records import MemoryRecords
from tests import programs
from tests.bundles import Program
from tests.fakes.containers import FakeNode, fake_stage
from tests.stage import Stage
from tests.waiting import until

REFUSED = errors.FailedPreconditionError("cannot do it: said the runtime")


class FullRecords(MemoryRecords[Task]):
    """Records on a disk that may be full; deleting always works."""

    full = False

    def put(self, namespace: str, id_: str, record: Task) -> None:
        if self.full:
            raise errors.ResourceExhaustedError("cannot write: no space left on device")
        super().put(namespace, id_, record)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def stage(tmp_path: Path, node: FakeNode) -> Stage:
    return fake_stage(tmp_path, node)


@pytest.fixture
def records() -> FullRecords:
    return FullRecords("task")


@pytest.fixture
async def tasks(stage: Stage, records: FullRecords) -> AsyncIterator[TaskService]:
    async with stage.service(records) as service:
        yield service


async def create(tasks: TaskService, stage: Stage, args: tuple[str, ...], id_: str = "a") -> None:
    await tasks.create(stage.task(id_, Program(args=args)))


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


async def swallowed(work: "asyncio.Future[Task] | object") -> Exception | None:
    try:
        await work  # type: ignore[misc]  # a coroutine
    except errors.Error as error:
        return error
    return None


async def test_a_caller_that_leaves_does_not_stop_a_start(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["start"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await tasks.start("test", "a")
    node.hang["start"].set()
    await until(lambda: tasks.get("test", "a").state is State.RUNNING)


async def test_stop_ends_a_create_that_hangs(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["create"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    stopped = await tasks.stop("test", "a", signal.SIGTERM, 0.05)
    assert stopped.state is State.STOPPED
    assert "stopped before it was created" in stopped.failure


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


async def test_what_outlives_sigkill_is_reported_and_keeps_no_other_task(
    tasks: TaskService,
    stage: Stage,
    node: FakeNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.tasks.stopping._UNTIL_CGROUP", 0.01)
    monkeypatch.setattr("runtime.tasks.stopping._UNTIL_STUCK", 0.05)
    node.immortal = True
    for id_ in ("a", "b"):
        await create(tasks, stage, programs.LOYAL, id_)
        await tasks.start("test", id_)
    with pytest.raises(errors.UnavailableError, match="state D at nfs_wait outlives SIGKILL"):
        await tasks.stop("test", "a", signal.SIGTERM, 0)
    assert (await tasks.stop("test", "b", signal.SIGTERM, 5)).exit_code == 3
    with pytest.raises(errors.UnavailableError):
        await tasks.delete("test", "a")
    node.immortal = False
    await tasks.delete("test", "a")
    assert tasks.find("test", "a") is None


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


async def test_a_create_that_never_came_to_be_is_a_failure(
    stage: Stage, records: FullRecords, node: FakeNode
) -> None:
    async with stage.service(records) as tasks:
        await create(tasks, stage, programs.LOYAL)
        await until(lambda: tasks.get("test", "a").state is State.CREATED)
    cut = replace(records.get("test", "a"), state=State.CREATING, process=None, monitor=None)
    records.put("test", "a", cut)
    node.requests.clear()
    async with stage.service(records) as tasks:
        await tasks.recover()
        task = tasks.get("test", "a")
        assert task.state is State.STOPPED
        assert "restarted" in task.failure
        await until(lambda: node.containers == {})
