import asyncio
import threading

import pytest

from store.threads import in_thread


async def test_the_result_and_the_error_come_back() -> None:
    assert await in_thread(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits_for_the_call(*, fails: bool) -> None:
    go_on, ended = threading.Event(), threading.Event()
    running, loop = asyncio.Event(), asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(running.set)
        go_on.wait(10)
        ended.set()
        if fails:
            raise ValueError("nobody hears this")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(in_thread(work))
        await running.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
    assert task.cancelled()
    assert ended.is_set()
