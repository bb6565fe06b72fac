"""The contracts of containers, on fakes."""

from pathlib import Path

import pytest

from tests.contracts.monitor import MonitorContract
from tests.contracts.oci import OciRuntimeContract
from tests.fakes.containers import FakeNode, fake_stage
from tests.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return fake_stage(tmp_path, FakeNode())


class TestFakeRuntime(OciRuntimeContract):
    pass


class TestFakeMonitor(MonitorContract):
    pass
