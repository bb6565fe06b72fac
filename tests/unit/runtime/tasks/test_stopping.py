"""Stopping what does not want to stop, on fakes."""

import asyncio
import signal

import pytest

from runtime.tasks import State
from runtime.tasks.service import TaskService
from store import errors
from tests import programs
from tests.fakes.containers import FakeNode
from tests.stage import Stage, create


async def test_stop_ends_a_create_that_hangs(
    tasks: TaskService, stage: Stage, node: FakeNode
) -> None:
    node.hang["create"] = asyncio.Event()
    await create(tasks, stage, programs.LOYAL)
    stopped = await tasks.stop("test", "a", signal.SIGTERM, 0.05)
    assert stopped.state is State.STOPPED
    assert "stopped before it was created" in stopped.failure


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
