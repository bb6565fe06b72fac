"""What every implementation of `runtime.tasks.Tasks` must do."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from runtime.spec import Resources
from runtime.tasks import State, Task, TaskRequest, Tasks
from store import errors
from tests import programs
from tests.waiting import PATIENCE

Request = Callable[[str, tuple[str, ...]], TaskRequest]
Restart = Callable[[], AbstractAsyncContextManager[Tasks]]


class TasksContract:
    """A subclass supplies `request`, which makes a bundle, and `service`.

    `service` opens the implementation over the same records each time; leaving the block is what
    the end of a daemon is. It has been recovered when the block is entered.
    """

    @pytest.fixture
    async def tasks(self, service: Restart) -> AsyncIterator[Tasks]:
        async with service() as opened:
            yield opened
            for task in opened.walk():
                await opened.delete(task.namespace, task.id)

    async def running(
        self, tasks: Tasks, request_: Request, args: tuple[str, ...] = programs.LOYAL
    ) -> Task:
        await tasks.create(request_("a", args))
        return await tasks.start("test", "a")

    async def test_create_answers_before_the_runtime_has(
        self, tasks: Tasks, request_: Request
    ) -> None:
        made = await tasks.create(request_("a", programs.LOYAL))
        assert (made.namespace, made.id, made.state) == ("test", "a", State.CREATING)
        assert made.created_at > 0
        assert tasks.get("test", "a").state is State.CREATING

    async def test_an_id_is_taken_once_in_a_namespace(
        self, tasks: Tasks, request_: Request
    ) -> None:
        asked = request_("a", programs.LOYAL)
        await tasks.create(asked)
        with pytest.raises(errors.AlreadyExistsError, match="a"):
            await tasks.create(asked)

    @pytest.mark.parametrize("id_", ["", "..", "a/b", "a\0b"])
    async def test_an_id_is_no_path(self, tasks: Tasks, request_: Request, id_: str) -> None:
        asked = request_("a", programs.LOYAL)
        bad = TaskRequest(
            namespace="test",
            id=id_,
            name="a",
            handler=asked.handler,
            bundle=asked.bundle,
            cgroup=asked.cgroup,
        )
        with pytest.raises(errors.InvalidArgumentError):
            await tasks.create(bad)
        assert tasks.walk() == []

    async def test_a_bad_log_path_is_refused_at_once(self, tasks: Tasks, request_: Request) -> None:
        asked = request_("a", programs.LOYAL)
        assert asked.log_path is not None
        asked.log_path.symlink_to("/dev/null")
        with pytest.raises(errors.InvalidArgumentError, match="log_path"):
            await tasks.create(asked)
        assert tasks.find("test", "a") is None
        asked.log_path.unlink()
        assert (await tasks.create(asked)).state is State.CREATING

    async def test_start_runs_what_was_created(self, tasks: Tasks, request_: Request) -> None:
        before = time.time_ns()
        task = await self.running(tasks, request_)
        assert task.state is State.RUNNING
        assert before <= task.started_at <= time.time_ns()
        assert task.process is not None
        assert tasks.get("test", "a") == task

    async def test_only_a_created_task_starts(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_)
        with pytest.raises(errors.FailedPreconditionError, match="running"):
            await tasks.start("test", "a")
        with pytest.raises(errors.NotFoundError):
            await tasks.start("test", "missing")

    async def test_a_refusal_of_the_runtime_is_kept(self, tasks: Tasks, request_: Request) -> None:
        await tasks.create(request_("a", programs.MISSING))
        with pytest.raises(errors.FailedPreconditionError, match="/nosuch"):
            await tasks.start("test", "a")
        task = tasks.get("test", "a")
        assert (task.state, task.exit_code) == (State.STOPPED, 128)
        assert "/nosuch" in task.failure
        assert task.exited_at > 0
        with pytest.raises(errors.FailedPreconditionError, match="/nosuch"):
            await tasks.start("test", "a")

    async def test_an_exit_is_recorded(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_, programs.QUICK)
        task = await tasks.wait("test", "a")
        assert (task.state, task.exit_code, task.oom_killed) == (State.STOPPED, 7, False)
        assert task.exited_at >= task.started_at
        assert tasks.get("test", "a") == task

    async def test_every_move_is_told_in_order(self, tasks: Tasks, request_: Request) -> None:
        changes = tasks.changes()
        await self.running(tasks, request_, programs.QUICK)
        await tasks.wait("test", "a")
        told = [(await anext(changes)).state for _ in range(4)]
        assert told == [State.CREATING, State.CREATED, State.RUNNING, State.STOPPED]

    async def test_an_observer_sees_each_move_as_it_happens(
        self, tasks: Tasks, request_: Request
    ) -> None:
        moves: list[tuple[State | None, State]] = []

        def observe(before: Task | None, after: Task) -> None:
            assert tasks.get(after.namespace, after.id) == after
            moves.append((before.state if before else None, after.state))

        tasks.observe(observe)
        await self.running(tasks, request_, programs.QUICK)
        await tasks.wait("test", "a")
        assert moves == [
            (None, State.CREATING),
            (State.CREATING, State.CREATED),
            (State.CREATED, State.RUNNING),
            (State.RUNNING, State.STOPPED),
        ]

    async def test_stop_gives_the_program_its_signal(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_)
        assert tasks.get("test", "a").process is not None
        await self.ready()
        stopped = await tasks.stop("test", "a", signal.SIGTERM, 30)
        assert (stopped.state, stopped.exit_code) == (State.STOPPED, 3)
        assert (await tasks.stop("test", "a", signal.SIGTERM, 30)) == stopped

    async def ready(self) -> None:
        """Give the program a moment to set up its signal handler, where there is a program."""

    async def test_what_is_deaf_is_killed_after_its_grace(
        self, tasks: Tasks, request_: Request
    ) -> None:
        await self.running(tasks, request_, programs.FOREVER)
        await self.ready()  # until its exec, runc's own init dies of the signal
        before = time.monotonic()
        stopped = await tasks.stop("test", "a", signal.SIGTERM, 0.2)
        assert 0.2 <= time.monotonic() - before < PATIENCE
        assert stopped.exit_code == 137

    async def test_without_grace_it_is_killed_at_once(
        self, tasks: Tasks, request_: Request
    ) -> None:
        await self.running(tasks, request_, programs.FOREVER)
        assert (await tasks.stop("test", "a", signal.SIGTERM, 0)).exit_code == 137

    async def test_a_second_stop_shortens_the_first(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_, programs.FOREVER)
        await self.ready()
        before = time.monotonic()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(tasks.stop("test", "a", signal.SIGTERM, 1000))
            await asyncio.sleep(0.05)
            second = group.create_task(tasks.stop("test", "a", signal.SIGTERM, 0.1))
        assert time.monotonic() - before < PATIENCE
        assert first.result() == second.result()

    async def test_what_never_started_can_be_stopped(self, tasks: Tasks, request_: Request) -> None:
        await tasks.create(request_("a", programs.LOYAL))
        stopped = await tasks.stop("test", "a", signal.SIGTERM, 10)
        assert (stopped.state, stopped.started_at) == (State.STOPPED, 0)
        with pytest.raises(errors.FailedPreconditionError):
            await tasks.start("test", "a")

    async def test_kill_sends_any_signal(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_)
        await self.ready()
        await tasks.kill("test", "a", signal.SIGTERM)
        assert (await tasks.wait("test", "a")).exit_code == 3
        await tasks.kill("test", "a", signal.SIGTERM)

    async def test_delete_ends_and_forgets(self, tasks: Tasks, request_: Request) -> None:
        task = await self.running(tasks, request_, programs.FOREVER)
        await tasks.delete("test", "a")
        assert tasks.find("test", "a") is None
        assert not task.directory.exists()
        with pytest.raises(errors.NotFoundError):
            tasks.get("test", "a")
        await tasks.delete("test", "a")

    async def test_delete_while_it_is_created(self, tasks: Tasks, request_: Request) -> None:
        await tasks.create(request_("a", programs.LOYAL))
        await tasks.delete("test", "a")
        assert tasks.find("test", "a") is None

    async def test_many_delete_at_once(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_, programs.FOREVER)
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(tasks.delete("test", "a"))
        assert tasks.find("test", "a") is None

    async def test_exec_needs_a_running_task(self, tasks: Tasks, request_: Request) -> None:
        await tasks.create(request_("a", programs.FOREVER))
        with pytest.raises(errors.FailedPreconditionError, match="running"):
            await tasks.exec_sync("test", "a", programs.SPEAK, timeout=PATIENCE)
        await tasks.start("test", "a")
        output = await tasks.exec_sync("test", "a", programs.SPEAK, timeout=PATIENCE)
        assert (output.stdout, output.stderr, output.exit_code) == (b"out\n", b"err\n", 0)
        with pytest.raises(errors.DeadlineExceededError):
            await tasks.exec_sync("test", "a", programs.HANG, timeout=0.1)

    async def test_limits_change_while_it_lives(self, tasks: Tasks, request_: Request) -> None:
        await self.running(tasks, request_, programs.FOREVER)
        async with tasks.update("test", "a", Resources(cpu_shares=512)):
            pass
        await tasks.stop("test", "a", signal.SIGTERM, 0)
        with pytest.raises(errors.FailedPreconditionError):
            async with tasks.update("test", "a", Resources(cpu_shares=512)):
                pass

    async def test_the_log_is_reopened_while_it_lives(
        self, tasks: Tasks, request_: Request
    ) -> None:
        task = await self.running(tasks, request_, programs.FOREVER)
        assert task.log_path is not None
        task.log_path.rename(task.log_path.with_suffix(".1"))
        await tasks.reopen_log("test", "a")
        assert task.log_path.exists()
        await tasks.stop("test", "a", signal.SIGTERM, 0)
        with pytest.raises(errors.FailedPreconditionError):
            await tasks.reopen_log("test", "a")

    async def test_tasks_outlive_the_daemon(self, service: Restart, request_: Request) -> None:
        async with service() as tasks:
            before = await self.running(tasks, request_, programs.FOREVER)
        async with service() as tasks:
            assert tasks.get("test", "a") == before
            output = await tasks.exec_sync("test", "a", programs.SPEAK, timeout=PATIENCE)
            assert output.stdout == b"out\n"
            assert (await tasks.stop("test", "a", signal.SIGTERM, 0)).exit_code == 137
            await tasks.delete("test", "a")

    async def test_an_end_in_the_daemons_absence_is_heard(
        self, service: Restart, request_: Request
    ) -> None:
        async with service() as tasks:
            await self.running(tasks, request_)
            await self.ready()
            await tasks.kill("test", "a", signal.SIGTERM)
        await self.away()
        async with service() as tasks:
            task = await tasks.wait("test", "a")
            assert (task.state, task.exit_code) == (State.STOPPED, 3)
            await tasks.delete("test", "a")

    async def away(self) -> None:
        """Let time pass without a daemon, where there is a program that needs it."""

    async def test_stopped_tasks_are_remembered(self, service: Restart, request_: Request) -> None:
        async with service() as tasks:
            await self.running(tasks, request_, programs.QUICK)
            before = await tasks.wait("test", "a")
        async with service() as tasks:
            assert tasks.get("test", "a") == before
            assert await tasks.wait("test", "a") == before
            await tasks.delete("test", "a")
            assert tasks.walk() == []
