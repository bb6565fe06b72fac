import asyncio
from pathlib import Path

import pytest

from store.errors import DataLossError, UnavailableError
from store.images.growth import Growth

PATH, BLOB = Path("/ingest"), Path("/blob")


async def test_every_reader_follows_by_itself() -> None:
    growth = Growth()
    growth.advance(PATH, 5, complete=False)
    one, two = growth.follow(), growth.follow()

    async def more() -> tuple[int, bool]:
        return await one()

    assert await one() == (5, False)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(more())
        assert await two() == (5, False)
        assert not waiting.done()
        growth.advance(PATH, 9, complete=True)
    assert waiting.result() == (9, True)
    assert await one() == (9, True)
    assert await two() == (9, True)


async def test_complete_is_not_published() -> None:
    growth = Growth()
    growth.advance(PATH, 5, complete=True)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(growth.published())
        await asyncio.sleep(0)
        assert not waiting.done()
        growth.publish(BLOB, 5)
    assert (growth.path, growth.kept) == (BLOB, False)
    assert await growth.settled() is None


async def test_the_beginning_is_waited_for() -> None:
    growth = Growth()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(growth.began())
        await asyncio.sleep(0)
        growth.advance(PATH, 0, complete=False)
    assert waiting.result() == PATH


async def test_a_failure_reaches_everybody() -> None:
    growth = Growth()
    follow = growth.follow()
    error = UnavailableError("gone")
    growth.fail(error)
    for wait in (follow, growth.began, growth.published):
        with pytest.raises(UnavailableError, match="gone"):
            await wait()
    assert await growth.settled() is error


async def test_a_failure_after_the_end_is_one() -> None:
    growth = Growth()
    growth.advance(PATH, 5, complete=True)
    growth.fail(DataLossError("other content"))
    with pytest.raises(DataLossError):
        await growth.follow()()
