import asyncio
import inspect
import logging

import pytest

from runtime.tasks.jobs import Jobs
from store.errors import NotFoundError
from tests.waiting import until


async def fail() -> None:
    raise NotFoundError("it is not there")


async def test_a_failing_job_is_logged_and_ends_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = asyncio.Event()

    async def other() -> None:
        await asyncio.sleep(0.01)
        done.set()

    with caplog.at_level(logging.WARNING):
        async with Jobs() as jobs:
            jobs.spawn(fail(), "do it")
            jobs.spawn(other(), "other")
            await done.wait()
    assert "cannot do it: it is not there" in caplog.text
    assert "Traceback" not in caplog.text


async def test_leaving_the_block_ends_the_jobs() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with Jobs() as jobs:
        jobs.spawn(forever(), "wait")
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_work_comes_to_its_end_without_its_caller() -> None:
    finished = asyncio.Event()

    async def work() -> int:
        await asyncio.sleep(0.05)
        finished.set()
        return 3

    async with Jobs() as jobs:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await jobs.complete(work(), "work")
        await finished.wait()
        assert await jobs.complete(work(), "work") == 3


async def test_the_caller_gets_the_error() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        raise NotFoundError("not there")

    async with Jobs() as jobs:
        with pytest.raises(NotFoundError, match="not there"):
            await jobs.complete(work(), "work")


async def test_an_error_nobody_waits_for_any_more_is_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = asyncio.Event()

    async def work() -> int:
        await asyncio.sleep(0.02)
        seen.set()
        raise NotFoundError("not there")

    async with Jobs() as jobs:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await jobs.complete(work(), "work")
        await seen.wait()
        await until(lambda: not jobs._jobs)
    assert caplog.text == ""


async def test_drain_waits_only_so_long() -> None:
    async with Jobs() as jobs:
        job = jobs.job(asyncio.sleep(1000), "sleep")
        await Jobs.drain([job], 0.01)
        assert not job.done()
        await Jobs.drain([], 0.01)


async def test_a_job_that_never_began_is_no_noise() -> None:
    async with Jobs() as jobs:
        jobs.spawn(fail(), "do it")


async def test_who_waits_for_work_that_never_began_is_told() -> None:
    async def work() -> int:
        return 3

    never = work()
    async with asyncio.timeout(1), asyncio.TaskGroup() as group, Jobs() as jobs:
        waiting = group.create_task(jobs.complete(never, "work"))
        await asyncio.sleep(0)  # the job is made, and has not had its first step
    assert waiting.cancelled()
    assert inspect.getcoroutinestate(never) == inspect.CORO_CLOSED
