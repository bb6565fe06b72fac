import asyncio

import pytest

from store.errors import AlreadyExistsError, NotFoundError
from store.flight import Flight


class Job:
    """Counts its runs and ends when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.undone = asyncio.Event()
        self.hold_undo = asyncio.Event()
        self.hold_undo.set()

    async def __call__(self) -> int:
        self.runs += 1
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await self.hold_undo.wait()
            self.undone.set()
            raise
        return self.runs


async def test_callers_share_one_run() -> None:
    job = Job()
    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        calls = [
            group.create_task(flight.join("a", job, name="a", fingerprint=1)) for _ in range(50)
        ]
        await job.started.wait()
        job.go.set()
    assert [call.result() for call in calls] == [1] * 50
    assert job.runs == 1


async def test_a_different_request_for_the_same_key_is_refused() -> None:
    job = Job()
    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        first = group.create_task(flight.join("a", job, name="a", fingerprint=1))
        await job.started.wait()
        with pytest.raises(AlreadyExistsError, match="a is being made"):
            await flight.join("a", job, name="a", fingerprint=2)
        job.go.set()
    assert first.result() == 1


async def test_one_caller_of_several_leaving_changes_nothing_for_the_others() -> None:
    job = Job()
    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        first = group.create_task(flight.join("a", job, name="a", fingerprint=1))
        second = group.create_task(flight.join("a", job, name="a", fingerprint=1))
        await job.started.wait()
        first.cancel()
        await asyncio.wait([first])
        job.go.set()
    assert second.result() == 1


async def test_a_retry_waits_for_the_undo_of_a_cancelled_run() -> None:
    job = Job()
    job.hold_undo.clear()
    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        first = group.create_task(flight.join("a", job, name="a", fingerprint=1))
        await job.started.wait()
        first.cancel()
        await asyncio.wait([first])
        again = Job()
        again.go.set()
        second = group.create_task(flight.join("a", again, name="a", fingerprint=2))
        await asyncio.sleep(0)
        assert again.runs == 0
        job.hold_undo.set()
    assert job.undone.is_set()
    assert second.result() == 1


async def test_cancelling_before_the_run_began_leaves_the_key_free() -> None:
    job = Job()
    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        first = group.create_task(flight.join("a", job, name="a", fingerprint=1))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        job.go.set()
        assert await flight.join("a", job, name="a", fingerprint=1) == job.runs


async def test_an_error_reaches_every_caller_and_frees_the_key() -> None:
    async def fail() -> int:
        raise NotFoundError("gone")

    async with Flight[int]() as flight:
        for _ in range(2):
            with pytest.raises(NotFoundError, match="gone"):
                await flight.join("a", fail)
        assert not flight.running("a")
