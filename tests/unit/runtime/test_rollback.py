import asyncio

import pytest

from runtime.rollback import Rollback, finish


async def test_undos_run_newest_first_and_only_without_keep() -> None:
    done: list[str] = []
    async with Rollback() as undo:
        undo.push("one", done.append, "one")
        undo.push("two", done.append, "two")
    assert done == ["two", "one"]
    async with Rollback() as undo:
        undo.push("three", done.append, "three")
        undo.keep()
    assert done == ["two", "one"]


async def test_the_first_error_is_raised_and_a_failing_undo_is_listed() -> None:
    done: list[str] = []

    async def broken() -> None:
        raise OSError("busy")

    undo = Rollback()

    async def work() -> None:
        async with undo:
            undo.push("remove a", done.append, "a")
            undo.push("unmount b", broken)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await work()
    assert done == ["a"]
    assert undo.failures == ["cannot unmount b: OSError('busy')"]


async def test_cancellation_waits_for_the_undo() -> None:
    done: list[str] = []
    began = asyncio.Event()

    async def slow() -> None:
        began.set()
        await asyncio.sleep(0)
        done.append("undone")

    async def work() -> None:
        async with Rollback() as undo:
            undo.push("it", slow)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await began.wait()
        task.cancel()
    assert task.cancelled()
    assert done == ["undone"]


async def test_an_undo_that_hangs_is_given_up_and_listed() -> None:
    undo = Rollback(grace=0.01)
    async with undo:
        undo.push("wait for ever", asyncio.Event().wait)
    assert undo.failures == ["cannot wait for ever: TimeoutError()"]


async def test_an_undo_that_hangs_leaves_time_for_the_others() -> None:
    done: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0)
        done.append("slow")

    undo = Rollback(grace=0.05)
    async with undo:
        undo.push("take time", slow)
        undo.push("wait for ever", asyncio.Event().wait)
    assert done == ["slow"]
    assert undo.failures == ["cannot wait for ever: TimeoutError()"]


async def test_finish_returns_when_the_work_is_done() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    await finish(work())
    assert done == [1]
