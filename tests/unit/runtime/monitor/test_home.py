import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.monitor.home import Home
from runtime.pidfd import Process, ProcessId, identify
from runtime.process import spawn
from tests.waiting import until


@asynccontextmanager
async def sleeping() -> AsyncIterator[Process]:
    child = spawn(("/bin/sleep", "1000"))
    try:
        yield child
    finally:
        child.send(signal.SIGKILL)
        await child.wait()


@pytest.fixture
def procs(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "a/u.service/cgroup.procs", tmp_path / "b/u.service/cgroup.procs")
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    return paths


async def test_a_process_is_entered_in_every_hierarchy(procs: tuple[Path, Path]) -> None:
    home = Home(procs)
    async with sleeping() as one, sleeping() as other:
        home.take_in(identify(one.pid))
        await until(lambda: procs[1].read_text() == str(one.pid))
        assert procs[0].read_text() == str(one.pid)
        home.take_in(identify(other.pid))
        await until(lambda: procs[1].read_text() == str(other.pid))


async def test_who_has_ended_is_passed_over(
    procs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(procs)
    async with sleeping() as child:
        home.take_in(ProcessId(pid=child.pid, started=identify(child.pid).started - 1))
        home.take_in(ProcessId(pid=4_194_305, started=1))
        home.take_in(identify(child.pid))
        await until(lambda: procs[1].read_text() == str(child.pid))
    assert caplog.records == []


async def test_a_cgroup_that_is_gone_is_said_and_hinders_nobody(
    procs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    procs[0].unlink()
    procs[0].parent.rmdir()
    home = Home(procs)
    async with sleeping() as child:
        home.take_in(identify(child.pid))
        await until(lambda: len(caplog.records) == 1)
        assert f"cannot move monitor {child.pid}" in caplog.text


async def test_without_a_home_processes_stay() -> None:
    Home(()).take_in(ProcessId(pid=1, started=1))
