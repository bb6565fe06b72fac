"""What every implementation of `runtime.monitor.Monitor` must do."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.monitor import Monitored, MonitorRequest
from store import errors
from tests import programs
from tests.stage import Stage


class MonitorContract:
    """A subclass supplies the fixture `stage`."""

    async def running(
        self, stage: Stage, args: tuple[str, ...]
    ) -> tuple[MonitorRequest, Monitored]:
        request, monitored = await stage.created("a", args)
        await stage.runtime.start(request.handler, "a")
        return request, monitored

    async def test_what_was_created_lives_with_its_monitor(self, stage: Stage) -> None:
        request, monitored = await stage.created("a", programs.FOREVER)
        assert stage.processes.send(monitored.process, 0)
        assert stage.processes.send(monitored.monitor, 0)
        await stage.runtime.delete(request.handler, "a", force=True)
        await stage.monitor.wait(request, monitored)
        assert not stage.processes.send(monitored.process, 0)
        assert not stage.processes.send(monitored.monitor, 0)

    async def test_a_refusal_says_the_runtimes_words_and_leaves_nothing(self, stage: Stage) -> None:
        request = stage.request("a", programs.MISSING)
        stage.monitor.prepare(request)
        with pytest.raises(errors.FailedPreconditionError, match=r"container a.*/nosuch"):
            await stage.monitor.create(request)
        assert await stage.monitor.find(request) is None
        assert stage.members("a") == []

    async def test_a_cancelled_create_leaves_nothing(self, stage: Stage) -> None:
        request = stage.request("a", programs.FOREVER)
        stage.monitor.prepare(request)
        for milliseconds in range(0, 20, 4):
            try:
                async with asyncio.timeout(milliseconds / 1000):
                    monitored = await stage.monitor.create(request)
            except TimeoutError:
                assert await stage.monitor.find(request) is None
            else:
                await stage.runtime.delete(request.handler, "a", force=True)
                await stage.monitor.wait(request, monitored)
            assert not stage.runtime_keeps(request.handler, "a")

    async def test_an_exit_is_heard_with_code_and_time_and_again_later(self, stage: Stage) -> None:
        request, monitored = await self.running(stage, programs.QUICK)
        ended = await stage.monitor.wait(request, monitored)
        assert ended is not None
        assert (ended.code, ended.oom) == (7, False)
        assert abs(time.time_ns() - ended.at) < 10_000_000_000
        assert await stage.monitor.wait(request, monitored) == ended
        assert await stage.monitor.find(request) is None

    async def test_death_by_a_signal_is_told_as_a_shell_would(self, stage: Stage) -> None:
        request, monitored = await self.running(stage, programs.FOREVER)
        stage.processes.send(monitored.process, signal.SIGKILL)
        ended = await stage.monitor.wait(request, monitored)
        assert ended is not None
        assert ended.code == 137

    async def test_a_created_container_is_found_again(self, stage: Stage) -> None:
        request, monitored = await stage.created("a", programs.FOREVER)
        assert await stage.monitor.find(request) == monitored
        other = replace(request, directory=request.directory.with_name("b"))
        assert await stage.monitor.find(other) is None
        await stage.runtime.delete(request.handler, "a", force=True)
        await stage.monitor.wait(request, monitored)

    async def test_a_container_outlives_its_monitor_and_its_end_is_seen(self, stage: Stage) -> None:
        request, monitored = await self.running(stage, programs.FOREVER)
        stage.processes.send(monitored.monitor, signal.SIGKILL)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stage.monitor.wait(request, monitored)
        assert stage.processes.send(monitored.process, signal.SIGKILL)
        ended = await stage.monitor.wait(request, monitored)
        assert ended is None or ended.code == 137
        assert not stage.processes.send(monitored.process, 0)

    async def test_output_may_go_nowhere(self, stage: Stage) -> None:
        request = replace(stage.request("a", programs.QUICK), log_path=None)
        stage.monitor.prepare(request)
        monitored = await stage.monitor.create(request)
        await stage.runtime.start(request.handler, "a")
        ended = await stage.monitor.wait(request, monitored)
        assert ended is not None
        assert ended.code == 7

    @pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "device", "link"])
    def test_only_a_plain_file_is_written_to(self, stage: Stage, kind: str) -> None:
        request = stage.request("a", programs.QUICK)
        assert request.log_path is not None
        canary = stage.path / "canary"
        canary.write_text("untouched")
        self.place(kind, request.log_path, canary)
        with pytest.raises(errors.InvalidArgumentError, match="log_path"):
            stage.monitor.prepare(request)
        assert canary.read_text() == "untouched"

    def place(self, kind: str, path: Path, canary: Path) -> None:
        if kind == "symlink":
            path.symlink_to(canary)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/null")
        else:
            path.hardlink_to(canary)

    def test_a_log_needs_its_directory_and_no_colon(self, stage: Stage) -> None:
        request = stage.request("a", programs.QUICK)
        for path in (stage.path / "missing" / "a.log", stage.path / "a:b.log"):
            with pytest.raises(errors.InvalidArgumentError, match="log_path"):
                stage.monitor.prepare(replace(request, log_path=path))

    def test_an_earlier_log_is_kept(self, stage: Stage) -> None:
        request = stage.request("a", programs.QUICK)
        assert request.log_path is not None
        request.log_path.write_text("before\n")
        stage.monitor.prepare(request)
        assert request.log_path.read_text() == "before\n"

    async def test_the_log_is_a_new_file_when_reopen_returns(self, stage: Stage) -> None:
        request, monitored = await self.running(stage, programs.FOREVER)
        log = request.log_path
        assert log is not None
        before = log.stat().st_ino
        log.rename(log.with_suffix(".1"))
        await stage.monitor.reopen_log(request)
        assert log.stat().st_ino != before
        assert log.stat().st_mode & 0o777 == 0o640
        await stage.runtime.delete(request.handler, "a", force=True)
        await stage.monitor.wait(request, monitored)

    async def test_nobody_reopens_the_log_of_what_has_ended(self, stage: Stage) -> None:
        request, monitored = await self.running(stage, programs.QUICK)
        await stage.monitor.wait(request, monitored)
        assert request.log_path is not None
        request.log_path.unlink()
        with pytest.raises(errors.UnavailableError):
            await stage.monitor.reopen_log(request)
        assert not request.log_path.exists()
