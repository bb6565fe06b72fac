"""The contracts of containers, with crun and runc under conmon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.monitor.conmon import Conmon
from tests import programs
from tests.bundles import tool
from tests.contracts.monitor import MonitorContract
from tests.contracts.oci import OciRuntimeContract
from tests.nodes import ENV, make_stage
from tests.stage import Stage
from tests.waiting import until

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


async def test_a_monitor_lives_in_cgroups_of_its_own(stage: Stage) -> None:
    root = Path("/sys/fs/cgroup")
    home = (root if stage.cgroups.version == 2 else root / "pids") / "ferry-test-monitors"
    home.mkdir()
    binary = tool("conmon")
    assert binary is not None
    monitor = Conmon(binary, stage.runtime, env=ENV, cgroups=[home / "cgroup.procs"])
    request = stage.request("a", programs.FOREVER)
    monitor.prepare(request)
    monitored = await monitor.create(request)
    await until(lambda: (home / "cgroup.procs").read_text() == f"{monitored.monitor.pid}\n")
    await stage.runtime.delete(request.handler, "a", force=True)
    await monitor.wait(request, monitored)
    home.rmdir()
