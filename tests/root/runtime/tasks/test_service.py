"""Tasks on the real kernel, with each runtime."""

import signal
from pathlib import Path

import pytest

from runtime.tasks import State
from store import errors
from tests.bundles import Program, shell
from tests.nodes import make_stage
from tests.stage import Stage
from tests.waiting import PATIENCE

pytestmark = pytest.mark.root

LOYAL = shell("echo ready; trap 'exit 3' TERM; while :; do sleep 0.02; done")


@pytest.fixture(params=["crun", "runc"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return make_stage(tmp_path, str(request.param))


async def test_a_task_lives_from_create_to_delete(node: Stage) -> None:
    async with node.service() as tasks:
        made = await tasks.create(node.task("a", Program(args=LOYAL)))
        assert made.state is State.CREATING
        assert (await tasks.start("test", "a")).state is State.RUNNING
        output = await tasks.exec_sync(
            "test", "a", shell("echo out; echo err >&2"), timeout=PATIENCE
        )
        assert (output.stdout, output.stderr, output.exit_code) == (b"out\n", b"err\n", 0)
        stopped = await tasks.stop("test", "a", signal.SIGTERM, PATIENCE)
        assert (stopped.state, stopped.exit_code) == (State.STOPPED, 3)
        await tasks.delete("test", "a")
        assert tasks.find("test", "a") is None
    assert (node.path / "a.log").read_bytes().endswith(b" stdout F ready\n")
    assert node.cgroups.pids("/ferry-test/a") == []


async def test_what_the_runtime_refuses_fails_the_start_with_its_words(node: Stage) -> None:
    async with node.service() as tasks:
        await tasks.create(node.task("a", Program(args=("/nosuch",))))
        with pytest.raises(errors.FailedPreconditionError, match="/nosuch"):
            await tasks.start("test", "a")
        task = tasks.get("test", "a")
        assert (task.state, task.exit_code) == (State.STOPPED, 128)
        assert "/nosuch" in task.failure
        await tasks.delete("test", "a")
