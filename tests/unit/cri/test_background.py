import asyncio
import logging

import pytest

from cri.background import Every, forever
from runtime.operations import Operations
from store.errors import UnavailableError
from tests.waiting import PATIENCE


class Work:
    """Counts, says when, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.done = 0
        self.again = asyncio.Event()
        self.seen: list[list[str]] = []
        self.operations = Operations()

    async def __call__(self) -> None:
        self.done += 1
        self.seen.append([operation.kind for operation in self.operations.list()])
        self.again.set()
        if self.failures:
            raise self.failures.pop(0)

    async def times(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.done < count:
                self.again.clear()
                await self.again.wait()


async def test_work_is_done_at_the_interval_and_listed_meanwhile() -> None:
    work = Work()
    every = Every("garbage collection", lambda: 0.001, work)
    async with forever() as group:
        group.run(every.run(work.operations), "gc")
        await work.times(3)
    assert work.seen[0] == ["garbage collection"]
    assert work.operations.list() == []


async def test_a_poke_does_not_wait_for_the_interval() -> None:
    work = Work()
    every = Every("gc", lambda: 3600.0, work)
    async with forever() as group:
        group.run(every.run(work.operations), "gc")
        every.poke()
        await work.times(1)
        every.poke()
        await work.times(2)
    assert work.done == 2


async def test_a_reloaded_interval_counts_from_the_next_round() -> None:
    work, intervals = Work(), [0.001, 3600.0]
    every = Every("gc", lambda: intervals.pop(0), work)
    async with forever() as group:
        group.run(every.run(work.operations), "gc")
        await work.times(1)
        await asyncio.sleep(0)
    assert (work.done, intervals) == (1, [])


async def test_a_failure_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(UnavailableError("cannot remove x: busy"), OSError("disk"))
    every = Every("gc", lambda: 0.001, work)
    with caplog.at_level(logging.WARNING, "cri.background"):
        async with forever() as group:
            group.run(every.run(work.operations), "gc")
            await work.times(3)
    assert caplog.messages[:2] == ["gc: cannot remove x: busy", "gc: disk"]


async def test_a_surprise_ends_the_block() -> None:
    work = Work(ZeroDivisionError())

    async def serve() -> None:
        async with forever() as group:
            group.run(Every("gc", lambda: 0.001, work).run(work.operations), "gc")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await serve()
    assert raised.group_contains(ZeroDivisionError)


async def test_leaving_the_block_ends_what_runs_in_it() -> None:
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def serve() -> None:
        async with forever() as group:
            group.run(run(), "waits")
            await asyncio.sleep(0)
            raise ValueError("over")

    with pytest.raises(ExceptionGroup) as raised:
        await serve()
    assert raised.group_contains(ValueError, match="over")
    assert ended.is_set()
