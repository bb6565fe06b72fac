"""The daemon is killed at any moment; the next one finds or clears all of its tasks."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.monitor import scan
from runtime.tasks import State, Task
from runtime.tasks.service import TaskService
from store.database import Database
from store.metadata.records import SqliteRecords
from tests import programs
from tests.bundles import Program
from tests.nodes import ENV, make_stage
from tests.stage import Stage
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.root

REPOSITORY = Path(__file__).parents[4]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("moment", range(6))
async def test_a_killed_daemon_leaves_nothing_lost_and_nothing_behind(
    tmp_path: Path, runtime: str, moment: int
) -> None:
    stage = make_stage(tmp_path, runtime)
    started = await kill_after(tmp_path, runtime, 0.02 + moment * 0.0137)
    with Database(tmp_path / "state.db") as database:
        records = SqliteRecords(database, "task", Task)
        before = {task.id: task for _, _, task in records.walk()}
        async with stage.service(records) as tasks:
            await tasks.recover()
            for task in tasks.walk():
                judge(before[task.id], task, told=task.id in started)
                await check_alive(stage, tasks, task)
            for task in tasks.walk():
                if task.state in (State.CREATING, State.CREATED):
                    assert (await tasks.start("test", task.id)).state is State.RUNNING
                if tasks.get("test", task.id).state is State.RUNNING:
                    output = await tasks.exec_sync(
                        "test", task.id, programs.SPEAK, timeout=PATIENCE
                    )
                    assert output.stdout == b"out\n"
                await tasks.delete("test", task.id)
            assert tasks.walk() == []
    check_nothing_left(stage)


async def kill_after(path: Path, runtime: str, seconds: float) -> set[str]:
    """Run a mortal daemon, kill it a while after its first start, return whom it had started."""
    script = Path(__file__).with_name("mortal.py")
    daemon = subprocess.Popen(  # noqa: ASYNC220 - quick, and we wait for its output below
        [sys.executable, str(script), str(path), runtime],
        stdout=subprocess.PIPE,
        env={**ENV, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    assert daemon.stdout is not None
    first = await asyncio.to_thread(daemon.stdout.readline)
    await asyncio.sleep(seconds)
    os.kill(daemon.pid, signal.SIGKILL)
    rest, _ = await asyncio.to_thread(daemon.communicate)
    return set((first + rest).decode().split())


def judge(before: Task, after: Task, *, told: bool) -> None:
    """Hold what was recovered against what the dead daemon had recorded and told."""
    if told and before.state is State.RUNNING:  # unless it had just been told to end
        assert after == before or (after.state is State.STOPPED and after.exit_code == 137)
    if before.state is State.CREATING:  # goes on, or is begun anew behind the recovery
        assert after.state in (State.CREATING, State.CREATED, State.RUNNING, State.STOPPED)
    assert after.state is not State.UNKNOWN


async def check_alive(stage: Stage, tasks: TaskService, task: Task) -> None:
    """What is RUNNING runs, or was killed by the dead daemon in its last moment."""
    if task.state is not State.RUNNING:
        return
    assert task.process is not None
    if not stage.processes.send(task.process, 0):
        async with asyncio.timeout(PATIENCE):
            assert (await tasks.wait("test", task.id)).exit_code == 137


def check_nothing_left(stage: Stage) -> None:
    below = [path for path in scan.monitors() if path.is_relative_to(stage.path)]
    assert below == []
    kept = stage.handler.root / "test"
    assert not kept.exists() or list(kept.iterdir()) == []
    assert stage.cgroups.pids("/ferry-test") == []
    stage.cgroups.remove("/ferry-test")
    left = stage.path / "tasks" / "test"
    assert list(left.iterdir()) == []


async def test_two_daemons_side_by_side_do_not_see_each_other(tmp_path: Path) -> None:
    first, second = make_stage(tmp_path / "1", "crun"), make_stage(tmp_path / "2", "crun")
    async with first.service() as one, second.service() as two:
        await one.create(first.task("a", Program(args=programs.FOREVER)))
        await one.start("test", "a")
        await two.recover()
        assert two.find("test", "a") is None
        await one.delete("test", "a")
    await until(lambda: first.cgroups.pids("/ferry-test") == [])
