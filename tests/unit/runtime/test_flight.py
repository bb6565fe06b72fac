import asyncio

from runtime.flight import Flight
from runtime.operations import Operations


async def test_who_joins_a_run_says_where_it_is() -> None:
    go = asyncio.Event()
    operations = Operations()

    async def work() -> int:
        await go.wait()
        return 1

    async def call(flight: Flight[int]) -> int:
        with operations.begin("RunPodSandbox", "web"):
            return await flight.join("web", work, name="web")

    async with Flight[int]() as flight, asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(flight)) for _ in "12"]
        await asyncio.sleep(0)
        first, second = operations.list()
        assert second.where().startswith(f"joined operation {first.number}, stage")
        go.set()
    assert [task.result() for task in tasks] == [1, 1]
