"""The worker's process: started once, ended when idle, replaced when it dies."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from store.images.worker import WorkerProcess
from tests.unpacking import gone, nothing_left, workers

pytestmark = pytest.mark.root


@pytest.fixture
def idle() -> float:
    """How long a worker stays with nothing to do; tests may parametrize it."""
    return 60


@pytest.fixture
async def worker(idle: float) -> AsyncIterator[WorkerProcess]:
    with nothing_left():
        found = WorkerProcess(idle=idle)
        yield found
        await found.close()


def kill(pid: int) -> None:
    """Kill a child and wait until it is dead; it is not reaped, and the loop has not noticed."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_it_is_started_once(worker: WorkerProcess) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(worker.ready())
    assert workers() == {worker.pid}


async def test_closing_ends_it(worker: WorkerProcess) -> None:
    await worker.ready()
    await worker.close()
    assert worker.pid is None
    assert workers() == set()


async def test_one_that_hangs_is_killed(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.images.worker._END_GRACE", 0.01)
    await worker.ready()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    await worker.close()
    assert workers() == set()


async def test_one_that_died_is_replaced(worker: WorkerProcess) -> None:
    await worker.ready()
    first = worker.pid
    assert first is not None
    kill(first)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        # What it makes of so bad a request is its affair; that it gets it is ours.
        await worker.submit(b"", [])
    assert worker.pid not in {None, first}


@pytest.mark.parametrize("idle", [0])
async def test_it_stays_while_it_is_used(worker: WorkerProcess) -> None:
    with worker.busy():
        with worker.busy():
            await worker.ready()
        await asyncio.sleep(0)
        assert workers() == {worker.pid}
        pid = worker.pid
        assert pid is not None
    await gone(pid)


async def test_it_says_what_it_is(worker: WorkerProcess) -> None:
    assert repr(worker) == "<WorkerProcess pid=None users=0>"
