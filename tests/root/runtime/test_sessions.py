"""The contract of sessions, with crun and runc under conmon."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runtime.io.execs import Execs
from runtime.io.sessions import ContainerSessions
from runtime.oci.launch import Launcher
from runtime.tasks.service import TaskService
from tests import programs
from tests.bundles import Program
from tests.contracts.sessions import SessionsContract, World
from tests.leaks import nothing_kept
from tests.nodes import ENV, make_stage
from tests.stage import Stage

pytestmark = pytest.mark.root


@dataclass(frozen=True, slots=True)
class RealWorld:
    stage: Stage
    tasks: TaskService
    sessions: ContainerSessions

    async def start(
        self, id_: str, argv: tuple[str, ...], *, terminal: bool = False, once: bool = False
    ) -> None:
        program = Program(args=argv, terminal=terminal, stdin=True)
        await self.tasks.create(replace(self.stage.task(id_, program), stdin_once=once))
        await self.tasks.start("test", id_)

    async def stop(self, id_: str) -> None:
        await self.tasks.stop("test", id_, 9, 0)

    def programs(self, id_: str) -> int:
        return len(self.stage.members(id_)) - 1


@pytest.fixture(params=["crun", "runc"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    stage = make_stage(tmp_path, str(request.param))
    async with nothing_kept(), stage.service() as tasks:
        launcher = Launcher(tmp_path / "scratch", ENV)
        made = RealWorld(stage, tasks, ContainerSessions(tasks, Execs(launcher)))
        await made.start("a", programs.FOREVER)
        yield made
        made.sessions.close()
        for task in tasks.walk():
            await tasks.delete(task.namespace, task.id)


class TestContainerSessions(SessionsContract):
    pass
