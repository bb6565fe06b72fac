"""The contracts of containers, on fakes."""

from pathlib import Path

import pytest

from tests.bundles import Program
from tests.contracts.monitor import MonitorContract
from tests.contracts.oci import OciRuntimeContract
from tests.contracts.tasks import Request, Restart, TasksContract
from tests.fakes.containers import FakeNode, fake_stage
from tests.stage import Stage, opener


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return fake_stage(tmp_path, FakeNode())


class TestFakeRuntime(OciRuntimeContract):
    pass


class TestFakeMonitor(MonitorContract):
    pass


class TestServiceOverFakes(TasksContract):
    @pytest.fixture
    def service(self, stage: Stage) -> Restart:
        return opener(stage)

    @pytest.fixture
    def request_(self, stage: Stage) -> Request:
        return lambda id_, args: stage.task(id_, Program(args=args))
