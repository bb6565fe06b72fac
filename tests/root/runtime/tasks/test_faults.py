"""What goes wrong on a real node: monitors and programs are stopped, killed, out of memory."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel.processes import stat_fields
from runtime.tasks import State, Task
from runtime.tasks.service import TaskService
from store import errors
from tests import programs
from tests.bundles import Program, shell
from tests.nodes import make_stage
from tests.stage import Stage
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.root

HOG = shell("x=0123456789; while :; do x=$x$x; done")


@pytest.fixture(params=["crun", "runc"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path, str(request.param))
    yield made
    assert made.members("a") == []
    assert not made.runtime_keeps(made.handler, "test/a")
    made.cgroups.remove("/ferry-test")


@pytest.fixture
async def tasks(stage: Stage) -> AsyncIterator[TaskService]:
    async with stage.service() as service:
        yield service
        for task in service.walk():
            await service.delete(task.namespace, task.id)


async def run(tasks: TaskService, stage: Stage, program: Program) -> Task:
    await tasks.create(stage.task("a", program))
    return await tasks.start("test", "a")


def send(task: Task, number: int, *, monitor: bool = False) -> None:
    target = task.monitor if monitor else task.process
    assert target is not None
    os.kill(target.pid, number)


async def test_the_end_of_a_stopped_monitors_container_is_known_all_the_same(
    tasks: TaskService, stage: Stage
) -> None:
    task = await run(tasks, stage, Program(args=programs.FOREVER))
    send(task, signal.SIGSTOP, monitor=True)
    async with asyncio.timeout(PATIENCE):
        assert (await tasks.stop("test", "a", signal.SIGTERM, 0)).exit_code == 137


async def test_a_stopped_program_is_stopped(tasks: TaskService, stage: Stage) -> None:
    task = await run(tasks, stage, Program(args=programs.LOYAL))
    send(task, signal.SIGSTOP)
    assert (await tasks.stop("test", "a", signal.SIGTERM, 0.1)).exit_code == 137


async def test_a_container_outlives_its_monitor_and_its_end_is_seen(
    tasks: TaskService, stage: Stage
) -> None:
    task = await run(tasks, stage, Program(args=programs.FOREVER))
    send(task, signal.SIGKILL, monitor=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await tasks.wait("test", "a")
    assert tasks.get("test", "a").state is State.RUNNING
    output = await tasks.exec_sync("test", "a", programs.SPEAK, timeout=PATIENCE)
    assert output.stdout == b"out\n"
    with pytest.raises(errors.UnavailableError):
        await tasks.reopen_log("test", "a")
    ended = await tasks.stop("test", "a", signal.SIGTERM, 0)
    assert (ended.state, ended.exit_code) == (State.STOPPED, 137)


async def test_a_stopped_monitor_does_not_reopen_logs(tasks: TaskService, stage: Stage) -> None:
    task = await run(tasks, stage, Program(args=programs.FOREVER))
    assert task.log_path is not None
    task.log_path.unlink()
    send(task, signal.SIGSTOP, monitor=True)
    with pytest.raises(errors.UnavailableError, match="did not answer"):
        await tasks.reopen_log("test", "a")
    assert not task.log_path.exists()


async def test_a_program_out_of_memory_is_told_so(tasks: TaskService, stage: Stage) -> None:
    await run(tasks, stage, Program(args=HOG, memory=16 << 20))
    ended = await tasks.wait("test", "a")
    assert (ended.exit_code, ended.oom_killed) == (137, True)


async def test_a_child_out_of_memory_is_told_at_the_end(tasks: TaskService, stage: Stage) -> None:
    script = f"sh -c '{HOG[2]}'; exit 4"
    await run(tasks, stage, Program(args=shell(script), memory=16 << 20))
    ended = await tasks.wait("test", "a")
    assert (ended.exit_code, ended.oom_killed) == (4, True)


async def test_an_exec_out_of_time_takes_all_its_children_along(
    tasks: TaskService, stage: Stage
) -> None:
    await run(tasks, stage, Program(args=programs.FOREVER))
    before = stage.members("a")
    for script in (
        "sleep 1000 & sleep 1000",
        "(sleep 1000 &) ; sleep 1000",
        "(setsid sleep 1000 &) ; sleep 1000",
        "trap '' TERM; (sh -c 'sleep 1000 & sleep 1000' &); sleep 1000",
    ):
        with pytest.raises(errors.DeadlineExceededError):
            await tasks.exec_sync("test", "a", shell(script), timeout=0.2)
        await until(lambda: stage.members("a") == before)


async def test_a_background_child_does_not_keep_its_exec(tasks: TaskService, stage: Stage) -> None:
    await run(tasks, stage, Program(args=programs.FOREVER))
    script = "echo here; sleep 1000 &"
    output = await tasks.exec_sync("test", "a", shell(script), timeout=PATIENCE)
    assert (output.stdout, output.exit_code) == (b"here\n", 0)


async def test_endless_output_is_capped_and_ends_with_its_time(
    tasks: TaskService, stage: Stage
) -> None:
    await run(tasks, stage, Program(args=programs.FOREVER))
    before = _resident()
    with pytest.raises(errors.DeadlineExceededError):
        await tasks.exec_sync("test", "a", ("/bin/yes",), timeout=1)
    assert _resident() - before < 40 << 20
    output = await tasks.exec_sync("test", "a", shell("yes | head -c 20000000"), timeout=PATIENCE)
    assert len(output.stdout) == 16 << 20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_what_a_program_leaves_in_the_hosts_pid_namespace_goes_with_it(
    tasks: TaskService, stage: Stage
) -> None:
    program = Program(
        args=shell("sleep 1000 & sleep 1000 & exit 0"), namespaces=("ipc", "uts", "mount")
    )
    await run(tasks, stage, program)
    assert (await tasks.wait("test", "a")).exit_code == 0
    await until(lambda: stage.members("a") == [])


async def test_everyone_gets_a_signal_if_asked(tasks: TaskService, stage: Stage) -> None:
    script = "trap 'exit 6' USR1; sleep 1000 & echo ready; while :; do sleep 0.02; done"
    task = await run(tasks, stage, Program(args=shell(script)))
    await until(lambda: task.log_path is not None and "ready" in task.log_path.read_text())
    await tasks.kill("test", "a", signal.SIGUSR1, everyone=True)
    assert (await tasks.wait("test", "a")).exit_code == 6


async def test_a_terminal_is_given(tasks: TaskService, stage: Stage) -> None:
    program = Program(args=shell("stty size && echo terminal"), terminal=True)
    task = await run(tasks, stage, program)
    await tasks.wait("test", "a")
    assert task.log_path is not None
    assert "terminal" in task.log_path.read_text()


async def test_an_exec_in_a_container_with_a_terminal_has_none(
    tasks: TaskService, stage: Stage
) -> None:
    await run(tasks, stage, Program(args=programs.FOREVER, terminal=True))
    output = await tasks.exec_sync("test", "a", shell("test -t 1 || echo none"), timeout=PATIENCE)
    assert (output.stdout, output.exit_code) == (b"none\n", 0)


async def test_deleting_while_the_runtime_creates_leaves_nothing(
    tasks: TaskService, stage: Stage
) -> None:
    for number in range(8):
        id_ = f"c{number}"
        await tasks.create(stage.task(id_, Program(args=programs.FOREVER)))
        await asyncio.sleep(number * 0.004)
        await tasks.delete("test", id_)
        assert stage.members(id_) == []
        assert not stage.runtime_keeps(stage.handler, f"test/{id_}")
        assert not (stage.path / "tasks" / "test" / id_).exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sleep 1000", "did not answer within"),
        ("echo '{broken' >&2; exit 1", "{broken"),
        ("kill -9 $$", "without a word"),
        ("exit 137", "without a word"),
    ],
)
async def test_a_bad_runtime_is_quoted_or_timed(tmp_path: Path, script: str, words: str) -> None:
    stage = make_stage(tmp_path, "runc")
    binary = tmp_path / "bad"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    stage = replace(stage, handler=replace(stage.handler, binary=binary))
    if script == "sleep 1000":
        stage.monitor._timeout = 0.3  # type: ignore[attr-defined]  # the one knob
    before = _offspring()
    async with stage.service() as tasks:
        await tasks.create(stage.task("a", Program(args=programs.FOREVER)))
        with pytest.raises(errors.FailedPreconditionError, match=words):
            await tasks.start("test", "a")
        await tasks.delete("test", "a")
    await until(lambda: _offspring() <= before)


def _offspring() -> set[int]:
    """Return our children that are not zombies about to be reaped."""
    own = str(os.getpid()).encode()
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = [(pid, stat_fields(pid)) for pid in pids]
    return {pid for pid, fields in found if fields and fields[1] == own and fields[0] != b"Z"}
