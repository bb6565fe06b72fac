import asyncio

import pytest

from store.errors import NotFoundError
from store.images import Progress, Report
from store.images.flight import Flights, Locks


class Work:
    """Something that ends when it is told to, and takes a while to clear up."""

    def __init__(self) -> None:
        self.begun = 0
        self.cleared = 0
        self.go = asyncio.Event()

    async def __call__(self, report: Report) -> int:
        self.begun += 1
        try:
            await self.go.wait()
            report(Progress(stage="resolve", item="x"))
        finally:
            await asyncio.sleep(0)
            self.cleared += 1
        return self.begun


async def test_who_asks_for_the_same_shares_a_run() -> None:
    work, heard = Work(), list[Progress]()
    async with Flights[int]() as flights, asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.join("a", work, heard.append)) for _ in "123"]
        other = group.create_task(flights.join("b", work, None))
        await asyncio.sleep(0)
        work.go.set()
    assert {task.result() for task in tasks} == {2}
    assert other.result() == 2
    assert work.begun == 2
    assert len(heard) == 3


async def test_a_run_ends_with_the_last_who_waits() -> None:
    work = Work()
    async with Flights[int]() as flights, asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.join("a", work, None)) for _ in "12"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0.001)
        assert work.cleared == 0
        tasks[1].cancel()
    assert work.cleared == 1
    assert repr(flights) == "<Flights: 0 under way>"


async def test_who_asks_after_that_gets_a_new_run() -> None:
    work = Work()
    async with Flights[int]() as flights:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await flights.join("a", work, None)
        work.go.set()
        assert await flights.join("a", work, None) == 2


async def test_an_error_is_everybodys_and_then_forgotten() -> None:
    async def fail(_: Report) -> int:
        await asyncio.sleep(0)
        raise NotFoundError("nothing")

    async def ask(flights: Flights[int]) -> str:
        with pytest.raises(NotFoundError) as caught:
            await flights.join("a", fail, None)
        return str(caught.value)

    async with Flights[int]() as flights:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(flights)) for _ in "12"]
        assert [task.result() for task in tasks] == ["nothing", "nothing"]
        assert await ask(flights) == "nothing"


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_leaving_cancels_what_is_under_way_or_has_not_begun(turns: int) -> None:
    work = Work()
    async with asyncio.TaskGroup() as group:
        async with Flights[int]() as flights:
            task = group.create_task(flights.join("a", work, None))
            for _ in range(turns):
                await asyncio.sleep(0)
        assert work.cleared == work.begun
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_locks_are_by_key_and_go_when_nobody_wants_them() -> None:
    locks, order = Locks(), list[str]()

    async def use(key: str, name: str) -> None:
        async with locks.hold(key):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    async with asyncio.TaskGroup() as group:
        for key, name in (("a", "1"), ("a", "2"), ("b", "3")):
            group.create_task(use(key, name))
    assert order.index("1 out") < order.index("2 in")
    assert order.index("3 in") < order.index("1 out")
    assert locks._locks == {}
