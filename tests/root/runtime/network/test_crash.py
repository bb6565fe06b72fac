"""The network's daemon is killed at any moment: what it leaves is found and freed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.kernel import NamespaceRequest
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.network import AttachRequest, PortMapping
from store.database import Database
from tests.root.runtime.network import daemon
from tests.waiting import until
from tests.wired import links, tables

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[4]


def killed_after(seconds: float, database: Path, pods: Path) -> None:
    """Run the daemon until it has recovered, and kill it some time later."""
    command = (sys.executable, daemon.__file__, str(database), str(pods))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": "."}) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        assert it.poll() is None
        it.kill()


async def test_kills_at_any_moment_leak_nothing(tmp_path: Path) -> None:
    before = links(), tables()
    namespaces, pods = LinuxNamespaces(), tmp_path / "pods"
    for number in range(3):
        directory = pods / f"pod{number}"
        namespaces.create(NamespaceRequest(directory=directory, ipc=False, uts=False))
    for moment in (0.0, 0.001, 0.002, 0.003, 0.005, 0.008, 0.013, 0.021):
        killed_after(moment, tmp_path / "db", pods)
    with Database(tmp_path / "db") as database:
        bridge = daemon.network(database)
        await bridge.recover(())
        await until(lambda: not {name for name in links() if name.startswith("fy")})
        assert "10.99.0.2 " not in tables()
        port = PortMapping(protocol="udp", container_port=53, host_port=5353)
        for number in range(3):
            netns = pods / f"pod{number}" / "net"
            name = f"pod{number}"
            await bridge.attach(AttachRequest(sandbox_id=name, netns=netns, ports=(port,)))
            await bridge.detach(name)
        await bridge.teardown()
        await bridge.close()
    for directory in sorted(pods.iterdir()):
        namespaces.remove(directory)
    assert (links(), tables()) == before
