"""What every implementation of `runtime.oci.OciRuntime` must do."""

import asyncio
from dataclasses import replace

import pytest

from runtime.oci import ExecOutput, Handler
from runtime.spec import Resources
from store import errors
from tests import programs
from tests.stage import Stage
from tests.waiting import PATIENCE

LIMIT = 1 << 20


class OciRuntimeContract:
    """A subclass supplies the fixture `stage`; every test ends the containers it makes."""

    def handler(self, stage: Stage) -> Handler:
        return replace(stage.handler, root=stage.handler.root / "test")

    async def test_start_lets_the_program_go(self, stage: Stage) -> None:
        handler = self.handler(stage)
        request, monitored = await stage.created("a", programs.LOYAL)
        assert not stage.runtime.started(handler, "a")
        await stage.runtime.start(handler, "a")
        assert stage.runtime.started(handler, "a")
        await self.finish(stage, "a")
        assert await stage.monitor.wait(request, monitored) is not None

    async def finish(self, stage: Stage, id_: str) -> None:
        await stage.runtime.delete(self.handler(stage), id_, force=True)

    async def test_start_of_the_unknown_names_it(self, stage: Stage) -> None:
        with pytest.raises(errors.FailedPreconditionError, match="missing"):
            await stage.runtime.start(self.handler(stage), "missing")

    async def test_a_second_start_is_refused(self, stage: Stage) -> None:
        await stage.created("a", programs.FOREVER)
        await stage.runtime.start(self.handler(stage), "a")
        with pytest.raises(errors.FailedPreconditionError, match="container a"):
            await stage.runtime.start(self.handler(stage), "a")
        await self.finish(stage, "a")

    async def test_delete_is_idempotent(self, stage: Stage) -> None:
        request, monitored = await stage.created("a", programs.QUICK)
        await stage.runtime.start(self.handler(stage), "a")
        ended = await stage.monitor.wait(request, monitored)
        assert ended is not None
        assert ended.code == 7
        await stage.runtime.delete(self.handler(stage), "a")
        await stage.runtime.delete(self.handler(stage), "a")
        assert stage.members("a") == []
        with pytest.raises(errors.FailedPreconditionError):
            await stage.runtime.start(self.handler(stage), "a")

    async def test_delete_of_the_unknown_is_no_error(self, stage: Stage) -> None:
        await stage.runtime.delete(self.handler(stage), "missing", force=True)

    async def test_only_force_deletes_what_runs(self, stage: Stage) -> None:
        request, monitored = await stage.created("a", programs.FOREVER)
        await stage.runtime.start(self.handler(stage), "a")
        with pytest.raises(errors.FailedPreconditionError, match="container a"):
            await stage.runtime.delete(self.handler(stage), "a")
        assert stage.processes.send(monitored.process, 0)
        await stage.runtime.delete(self.handler(stage), "a", force=True)
        ended = await stage.monitor.wait(request, monitored)
        assert ended is not None
        assert ended.code == 137

    async def test_exec_keeps_streams_and_code_apart(self, stage: Stage) -> None:
        await self.running(stage)
        output = await self.exec(stage, programs.SPEAK)
        assert (output.stdout, output.stderr, output.exit_code) == (b"out\n", b"err\n", 0)
        assert (await self.exec(stage, programs.FAIL)).exit_code == 5
        assert (await self.exec(stage, programs.DIE)).exit_code == 137
        await self.finish(stage, "a")

    async def test_exec_cuts_each_stream_at_the_limit(self, stage: Stage) -> None:
        await self.running(stage)
        whole = await self.exec(stage, programs.FLOOD)
        assert len(whole.stdout) == programs.FLOOD_BYTES
        cut = await stage.runtime.exec(
            self.handler(stage), "a", programs.FLOOD, timeout=PATIENCE, limit=1000
        )
        assert cut.stdout == whole.stdout[:1000]
        assert cut.exit_code == 0
        await self.finish(stage, "a")

    async def test_an_exec_that_is_late_is_gone_with_its_error(self, stage: Stage) -> None:
        await self.running(stage)
        before = stage.members("a")
        with pytest.raises(errors.DeadlineExceededError, match="in"):
            await stage.runtime.exec(
                self.handler(stage), "a", programs.HANG, timeout=0.1, limit=LIMIT
            )
        assert stage.members("a") == before
        await self.finish(stage, "a")

    async def test_a_cancelled_exec_leaves_no_process(self, stage: Stage) -> None:
        await self.running(stage)
        before = stage.members("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stage.runtime.exec(
                    self.handler(stage), "a", programs.HANG, timeout=0, limit=LIMIT
                )
        assert stage.members("a") == before
        await self.finish(stage, "a")

    async def test_exec_of_a_missing_program_names_it(self, stage: Stage) -> None:
        await self.running(stage)
        with pytest.raises(errors.FailedPreconditionError, match="/nosuch"):
            await self.exec(stage, programs.MISSING)
        await self.finish(stage, "a")

    async def test_exec_needs_a_container(self, stage: Stage) -> None:
        with pytest.raises(errors.FailedPreconditionError, match="missing"):
            await stage.runtime.exec(
                self.handler(stage), "missing", programs.SPEAK, timeout=PATIENCE, limit=LIMIT
            )

    async def test_update_changes_limits_of_what_runs(self, stage: Stage) -> None:
        await self.running(stage)
        await stage.runtime.update(self.handler(stage), "a", Resources(cpu_shares=512))
        await self.finish(stage, "a")
        with pytest.raises(errors.FailedPreconditionError, match="missing"):
            await stage.runtime.update(self.handler(stage), "missing", Resources(cpu_shares=512))

    async def running(self, stage: Stage) -> None:
        await stage.created("a", programs.FOREVER)
        await stage.runtime.start(self.handler(stage), "a")

    async def exec(self, stage: Stage, argv: tuple[str, ...]) -> ExecOutput:
        return await stage.runtime.exec(
            self.handler(stage), "a", argv, timeout=PATIENCE, limit=LIMIT
        )
