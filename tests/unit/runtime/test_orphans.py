import asyncio
import os
import threading
import time

import pytest

from runtime import orphans
from runtime.kernel.processes import stat_fields
from runtime.pidfd import ProcessId
from tests.waiting import PATIENCE, until


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


async def test_no_orphan_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[set[int]] = []

    def recorded() -> set[ProcessId]:
        found = zombies()
        rounds.append({process.pid for process in found})
        return found

    zombies = orphans._zombies
    monkeypatch.setattr(orphans, "_zombies", recorded)
    pids = {orphan() for _ in range(30)}
    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(orphans.sweep(0.01))
        await until(lambda: all(stat_fields(pid) is None for pid in pids))
        sweeping.cancel()
    assert [pids & found for found in rounds[:2]] == [pids, pids]
    assert not pids & set[int]().union(*rounds[2:])


async def test_a_child_is_left_to_whoever_waits_within_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again, reaped = threading.Event(), threading.Event()
    calls = 0

    def held() -> set[ProcessId]:
        nonlocal calls
        calls += 1
        found = zombies()
        if calls > 1:
            again.set()
            reaped.wait(PATIENCE)
        return found

    zombies = orphans._zombies
    monkeypatch.setattr(orphans, "_zombies", held)
    pid = orphan()
    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(orphans.sweep(0.001))
        await until(again.is_set)  # the first round is over
        assert reap(pid) == (pid, 0)
        reaped.set()
        sweeping.cancel()
    with pytest.raises(ChildProcessError):
        reap(pid)
