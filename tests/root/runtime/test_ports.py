"""Connections into a pod's network namespace."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.io.ports import PodPorts
from runtime.kernel import NamespaceRequest
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.kernel.threads import in_thread
from store.errors import UnavailableError
from tests.io import until
from tests.leaks import nothing_kept
from tests.userns import MAPPING, PROGRAMS

pytestmark = pytest.mark.root


@pytest.fixture(params=[None, MAPPING], ids=["node's users", "mapped"])
def pin(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    namespaces = LinuxNamespaces(programs=PROGRAMS)
    namespaces.create(
        NamespaceRequest(directory=tmp_path / "ns", ipc=False, uts=False, users=request.param)
    )
    yield tmp_path / "ns" / "net"
    namespaces.remove(tmp_path / "ns")


def listener() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)  # noqa: FBT003 - its only parameter
    return made


async def test_a_pods_port_is_reached_and_only_in_its_network(pin: Path) -> None:
    loop = asyncio.get_running_loop()
    ports = PodPorts(lambda _namespace, _id: pin)
    here = PodPorts(lambda _namespace, _id: None)
    with in_thread(listener, pin) as listening:
        port = listening.getsockname()[1]
        async with nothing_kept():
            for _ in range(100):
                async with ports.connect("test", "pod", port) as connection:
                    peer, _ = await loop.sock_accept(listening)
                    with peer:
                        await loop.sock_sendall(peer, b"from the pod")
                        assert await until(connection, b"from the pod")
        with pytest.raises(UnavailableError):
            async with here.connect("test", "pod", port):
                pass
