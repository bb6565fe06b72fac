"""The contracts of containers, with crun and runc under conmon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.monitor import MonitorContract
from tests.contracts.oci import OciRuntimeContract
from tests.nodes import make_stage
from tests.stage import Stage

pytestmark = pytest.mark.root


@pytest.fixture(params=["crun", "runc"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path, str(request.param))
    yield made
    made.cgroups.kill("/ferry-test")
    made.cgroups.remove("/ferry-test")


class TestCommandLine(OciRuntimeContract):
    pass


class TestConmon(MonitorContract):
    pass
