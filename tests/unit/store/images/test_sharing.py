import asyncio

import pytest

from store.images import Progress, Report
from store.images.sharing import Sharing


class Work:
    """Something that tells of its end, when it is told to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self, report: Report) -> int:
        self.begun += 1
        await self.go.wait()
        report(Progress(stage="publish", item="x"))
        return self.begun


async def test_all_who_share_a_run_hear_of_it() -> None:
    work, heard = Work(), list[Progress]()
    async with Sharing[int]() as sharing, asyncio.TaskGroup() as group:
        tasks = [group.create_task(sharing.join("a", work, heard.append)) for _ in "12"]
        quiet = group.create_task(sharing.join("a", work, None))
        impatient = group.create_task(sharing.join("a", work, heard.append))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        work.go.set()
    assert [task.result() for task in (*tasks, quiet)] == [1, 1, 1]
    assert heard == [Progress(stage="publish", item="x")] * 2
    assert sharing._listeners == {}


async def test_who_comes_after_a_cancelled_run_hears_of_the_new_one() -> None:
    work, heard = Work(), list[Progress]()
    async with Sharing[int]() as sharing:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await sharing.join("a", work, None)
        work.go.set()
        assert await sharing.join("a", work, heard.append) == 2
    assert len(heard) == 1
