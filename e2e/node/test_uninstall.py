"""Taking ferry off the node again: never over running pods, and then without a trace."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.client import Container, Pod, connected
from e2e.daemon import REPOSITORY
from e2e.node import installed
from e2e.node.installed import CGROUPS, UNIT, run, systemctl

pytestmark = pytest.mark.root

PLACES = [
    Path(path)
    for path in (
        "/opt/ferry",
        "/etc/ferry",
        "/etc/crictl.yaml",
        "/etc/systemd/system/ferryd.service",
        "/etc/systemd/system/ferry-monitors.service",
        "/etc/systemd/system/multi-user.target.wants/ferryd.service",
        "/run/ferry",
        "/usr/local/bin/ferry",
        "/usr/local/bin/ferryd",
        "/usr/share/bash-completion/completions/ferry",
        "/var/lib/ferry",
    )
]


@pytest.fixture(scope="module")
def driver(node: None) -> str:
    """Once is enough, with the driver that leaves more behind."""
    installed.use_driver("systemd")
    return "systemd"


def uninstall(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(REPOSITORY / "deploy/uninstall.sh"), *options],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the environment that this test itself runs in, and put it back."""
    shutil.copytree("/opt/ferry", tmp_path / "ferry", symlinks=True)
    yield
    if not Path("/opt/ferry").exists():
        shutil.copytree(tmp_path / "ferry", "/opt/ferry", symlinks=True)


async def test_a_node_with_pods_is_not_uninstalled_and_then_without_a_trace(
    image: str, logs: Path, programs: None
) -> None:
    async with connected(installed.ADDRESS) as client:
        running = await client.run_pod(Pod(name="stays", logs=logs))
        container = Container(name="main", image=image, command=["sleep", "600"])
        pid = await client.pid(await client.run(running, container))
    refused = uninstall()
    assert refused.returncode == 1
    assert f"pods are there: {running.id}" in refused.stderr
    systemctl("stop", UNIT)
    refused = uninstall("--purge")
    assert refused.returncode == 1
    assert "no daemon to stop them answers" in refused.stderr
    systemctl("start", UNIT)
    assert Path(f"/proc/{pid}").exists()
    done = uninstall("--purge")
    assert done.returncode == 0, done.stderr
    assert not Path(f"/proc/{pid}").exists()
    assert [str(place) for place in PLACES if place.is_symlink() or place.exists()] == []
    assert [str(path) for path in CGROUPS.rglob("*ferry*") if "agent" not in path.name] == []
    assert {unit for unit in installed.units() if "ferry" in unit} == set()
    assert "ferry" not in run("nft", "list", "tables")
    assert "ferry" not in run("ip", "-brief", "link")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert "/run/ferry" not in mounts
    assert "/var/lib/ferry" not in mounts
