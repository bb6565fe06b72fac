"""An installed node: its registry, its daemon with either cgroup driver, clients of it."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from e2e.client import Client, Container, Pod, connected
from e2e.conftest import HANDLERS, clear
from e2e.images import BUSYBOX
from e2e.leaks import Snapshot, leaks
from e2e.node import installed
from e2e.registry import Registry, serving

REGISTRY: Final = os.environ.get("FERRY_NODE", "")
DRIVERS: Final = ("systemd", "cgroupfs")
# Where systemd runs ExecReload; it stays as long as the unit does (systemd's CGROUP_DELEGATION).
_CONTROL: Final = f"{installed.UNIT}/.control"


@pytest.fixture(scope="session")
def node() -> None:
    if not REGISTRY:
        pytest.skip("needs a machine with ferry installed that it may use up: make e2e-vm")
    installed.set_watchdog(installed.PATIENCE)


@pytest.fixture(scope="session")
def registry(node: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    shutil.copytree(REGISTRY, folder / "data")
    with serving(folder) as registry:
        yield registry


@pytest.fixture(scope="module", params=DRIVERS)
def driver(node: None, request: pytest.FixtureRequest) -> str:
    """The cgroup driver that the installed daemon has been restarted with."""
    name: str = request.param
    installed.use_driver(name)
    return name


@pytest.fixture
async def image(driver: str, registry: Registry) -> str:
    """The image that containers run, pulled."""
    async with connected(installed.ADDRESS) as client:
        known = await client.image(registry.reference(BUSYBOX))
        return known.id if known else await client.pull(registry.reference(BUSYBOX))


def look() -> tuple[Snapshot, set[str]]:
    """Look at the node; programs of systemd's own come and go, so processes are left out."""
    return Snapshot.take(installed.STATE, processes=False), installed.units()


async def warm_up(client: Client, image: str, logs: Path) -> None:
    """Run a pod with each handler that has not run one yet: what is made once is no leak."""
    for handler in HANDLERS:
        if not (installed.STATE / "runtimes" / handler).exists():
            async with client.pod(Pod(name="warm", logs=logs), handler) as running:
                await client.run(running, Container(name="main", image=image, command=["true"]))


@pytest.fixture
async def cri(driver: str, image: str, logs: Path) -> AsyncIterator[Client]:
    """A client of the installed daemon; afterwards the node must be as it was."""
    async with connected(installed.ADDRESS) as client:
        await warm_up(client, image, logs)
        before, units = look()
        yield client
    async with connected(installed.ADDRESS) as client:
        left = await leaks(before, installed.STATE, processes=False, seconds=60)
        left = [one for one in left if not one.endswith(_CONTROL)]
        left += [f"unit: {unit}" for unit in sorted(installed.units() - units)]
        await clear(client)
    assert not left, "left behind:\n" + "\n".join(left)
