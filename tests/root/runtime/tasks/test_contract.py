"""The contract of tasks on the real kernel, with crun and runc under conmon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import Program
from tests.contracts.tasks import Request, Restart, TasksContract
from tests.nodes import make_stage
from tests.stage import Stage, opener
from tests.waiting import until

pytestmark = pytest.mark.root


@pytest.fixture(params=["crun", "runc"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path, str(request.param))
    yield made
    assert made.members("a") == []
    assert not made.runtime_keeps(made.handler, "test/a")
    made.cgroups.remove("/ferry-test")


class TestService(TasksContract):
    @pytest.fixture
    def service(self, stage: Stage) -> Restart:
        return opener(stage)

    @pytest.fixture
    def request_(self, stage: Stage) -> Request:
        self.stage = stage
        return lambda id_, args: stage.task(id_, Program(args=args))

    async def ready(self) -> None:
        log = self.stage.path / "a.log"
        await until(lambda: "ready" in log.read_text())

    async def away(self) -> None:
        await until(lambda: not self.stage.members("a"))
