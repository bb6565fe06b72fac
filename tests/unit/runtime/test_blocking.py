import asyncio
import threading

import pytest

from runtime import blocking
from runtime.operations import Operations
from tests.waiting import until


async def test_the_result_and_the_error_come_back() -> None:
    assert await blocking.run("read", "x", lambda: 7) == 7
    with pytest.raises(OSError, match="boom"):
        await blocking.run("read", "x", _boom)


def _boom() -> None:
    raise OSError("boom")


async def test_it_runs_elsewhere_and_names_its_stage() -> None:
    with Operations().begin("Test") as operation:
        thread = await blocking.run("stat", "/mnt", threading.get_ident)
        assert operation.where().startswith("stage stat for")
    assert thread != threading.get_ident()


async def test_a_hung_call_is_listed_until_it_ends_and_blocks_nobody() -> None:
    release = threading.Event()
    async with asyncio.TaskGroup() as group:
        hung = [group.create_task(blocking.run("stat", f"/dead/{n}", release.wait)) for n in "abc"]
        await asyncio.sleep(0)
        for task in hung:
            task.cancel()
    assert blocking.stuck() == ("stat: /dead/a", "stat: /dead/b", "stat: /dead/c")
    assert await blocking.run("stat", "/alive", lambda: 1) == 1
    release.set()
    await until(lambda: not blocking.stuck())
