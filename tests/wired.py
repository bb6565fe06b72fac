"""Real pods on a real bridge, for root tests: namespaces, networks and sockets inside them."""

import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from runtime.kernel import NamespaceRequest
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.kernel.threads import in_thread
from runtime.network import Attachment, AttachRequest, PortMapping
from runtime.network.bridge import BridgeNetwork
from runtime.network.linux import LinuxWires
from runtime.network.wires import BridgeConfig
from tests.fakes.network import memory_records
from tests.waiting import PATIENCE

TIMEOUT: Final = 5.0


class Node:
    """A node's bridge network and the namespaces of its pods."""

    def __init__(self, directory: Path, config: BridgeConfig) -> None:
        directory.mkdir()
        self.directory = directory
        self.config = config
        self.namespaces = LinuxNamespaces()
        self.records = memory_records()
        self.network = self._network()

    async def restart(self) -> BridgeNetwork:
        """Return what a new daemon over the same records would have."""
        await self.network.close()
        self.network = self._network()
        return self.network

    def netns(self, name: str) -> Path:
        """Return a pod's namespace, made at the first call."""
        directory = self.directory / name
        if not self.namespaces.alive(directory, ("net",)):
            self.namespaces.create(NamespaceRequest(directory=directory, ipc=False, uts=False))
        return directory / "net"

    async def attach(self, name: str, *ports: PortMapping) -> Attachment:
        """Connect a pod, made if need be."""
        request = AttachRequest(sandbox_id=name, netns=self.netns(name), ports=ports)
        return await self.network.attach(request)

    async def leave(self) -> None:
        """Take all of it away."""
        await self.network.teardown()
        await self.network.close()
        for directory in self.directory.iterdir():
            self.namespaces.remove(directory)

    def _network(self) -> BridgeNetwork:
        return BridgeNetwork(self.config, self.records, LinuxWires(self.config), grace=0.05)


@asynccontextmanager
async def node(directory: Path, config: BridgeConfig) -> AsyncIterator[Node]:
    """Hold a node whose network is set up; nothing is left of it."""
    made = Node(directory, config)
    try:
        await made.network.recover(())
        yield made
    finally:
        await made.leave()


def links() -> set[str]:
    """Return the names of the interfaces of the node."""
    return {name for _, name in socket.if_nameindex()}


def links_inside(netns: Path) -> set[str]:
    """Return the names of a pod's interfaces."""
    return in_thread(links, netns)


def tables() -> str:
    """Return all nftables rules of the node."""
    return run("nft", "list", "ruleset")


def run(*command: str) -> str:
    """Return what a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_inside(netns: Path, *command: str) -> str:
    """Return what a program prints that runs in a network namespace."""
    return in_thread(lambda: run(*command), netns)


@contextmanager
def listening(
    netns: Path | None, port: int, *, address: str = "0.0.0.0", udp: bool = False
) -> Iterator[socket.socket]:
    """Hold a socket that listens in a pod, or on the node."""

    def make() -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if not udp:
            made.listen()
        made.settimeout(TIMEOUT)
        return made

    with in_thread(make, netns) as server:
        yield server


def reach(netns: Path | None, server: socket.socket, target: str, port: int) -> str:
    """Connect from a pod, or the node, to `target`; return whom `server` takes it to be.

    A byte travels both ways, so answers find their way back, too.
    """

    def connect() -> socket.socket:
        return socket.create_connection((target, port), timeout=TIMEOUT)

    with in_thread(connect, netns) as client:
        connection, peer = server.accept()
        with connection:
            connection.settimeout(TIMEOUT)
            client.sendall(b"?")
            assert connection.recv(1) == b"?"
            connection.sendall(b"!")
            assert client.recv(1) == b"!"
    return str(peer[0])


def connect_udp(netns: Path | None, target: str, port: int) -> socket.socket:
    """Return a datagram socket that talks to `target`; the caller closes it."""

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(TIMEOUT)
        client.connect((target, port))
        return client

    return in_thread(connect, netns)


@contextmanager
def outside(directory: Path) -> Iterator[Path]:
    """Hold a namespace beyond the node: it is 192.0.2.2, the node 192.0.2.1, pods are unknown."""
    namespaces = LinuxNamespaces()
    namespaces.create(NamespaceRequest(directory=directory, ipc=False, uts=False))
    netns = directory / "net"
    run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0")
    try:
        run("ip", "link", "set", "in0", "netns", str(netns))
        run("ip", "address", "add", "192.0.2.1/24", "dev", "out0")
        run("ip", "link", "set", "out0", "up")
        run_inside(netns, "ip", "address", "add", "192.0.2.2/24", "dev", "in0")
        run_inside(netns, "ip", "link", "set", "in0", "up")
        yield netns
    finally:
        run("ip", "link", "delete", "out0")
        namespaces.remove(directory)
