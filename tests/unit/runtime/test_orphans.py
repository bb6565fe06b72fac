import asyncio
import os
import time

import pytest

from runtime import orphans
from runtime.pidfd import stat_fields
from tests.waiting import until


def orphan() -> int:
    """Start a child that nobody waits for and return its pid once it is a zombie."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    while (fields := stat_fields(pid)) is not None and fields[0] != b"Z":
        time.sleep(0.001)
    return pid


def reap(pid: int) -> tuple[int, int]:
    return os.waitpid(pid, os.WNOHANG)


async def test_a_child_that_nobody_waits_for_is_reaped_after_a_round() -> None:
    pid = orphan()
    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(orphans.sweep(0.01))
        await until(lambda: stat_fields(pid) is None)
        sweeping.cancel()


async def test_no_orphan_waits_for_another() -> None:
    pids = [orphan() for _ in range(30)]
    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(orphans.sweep(0.1))
        async with asyncio.timeout(1):
            await until(lambda: all(stat_fields(pid) is None for pid in pids))
        sweeping.cancel()


async def test_a_child_is_left_to_whoever_waits_within_the_round() -> None:
    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(orphans.sweep(0.2))
        await asyncio.sleep(0.1)
        pid = orphan()
        await asyncio.sleep(0.2)  # seen once
        assert reap(pid) == (pid, 0)
        sweeping.cancel()
    with pytest.raises(ChildProcessError):
        reap(pid)
