"""The daemon is killed at any moment of ADD and DEL: the next one leaves no address behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.database import Database
from tests.cni import PORTMAP, bridge_plugin, chain, real_plugins, write
from tests.root.runtime.network.cni import daemon
from tests.wired import links, links_inside, tables

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[5]
MOMENTS = (0.0, 0.004, 0.011, 0.02, 0.031, 0.043, 0.06, 0.09, 0.13, 0.2)


def killed_after(seconds: float, path: Path) -> None:
    """Run the daemon until it has recovered, and kill it some time later."""
    command = (sys.executable, daemon.__file__, str(path / "db"), str(path / "node"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": "."}) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        assert it.poll() is None
        it.kill()


async def test_kills_at_any_moment_leak_nothing(tmp_path: Path) -> None:
    real_plugins()
    before = links()
    document = chain(bridge_plugin(tmp_path / "node/leases", "10.99.0.0/24"), PORTMAP)
    write(tmp_path / "node/net.d/10-test.conflist", document)
    with Database(tmp_path / "db") as database:
        pods = daemon.node(database, tmp_path / "node")
        for name in daemon.NAMES:
            pods.netns(name)
    for moment in MOMENTS:
        killed_after(moment, tmp_path)
    with Database(tmp_path / "db") as database:
        pods = daemon.node(database, tmp_path / "node")
        await pods.network.recover(())
        assert pods.leased() == set()
        assert list(pods.records.pods.walk()) == []
        assert "10.99.0" not in tables()
        for name in daemon.NAMES:
            assert links_inside(pods.netns(name)) == {"lo"}
            await pods.attach(name)
        await pods.leave()
        assert pods.leased() == set()
    assert links() == before
