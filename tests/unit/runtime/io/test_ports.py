"""Connections to ports, on the node's own network."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.io.ports import PodPorts
from store.errors import FailedPreconditionError, NotFoundError, UnavailableError
from tests.io import drained, until
from tests.leaks import nothing_kept

PORTS = PodPorts(lambda _namespace, _id: None)


@asynccontextmanager
async def listening(family: socket.AddressFamily = socket.AF_INET) -> AsyncIterator[socket.socket]:
    with socket.create_server(("", 0), family=family) as listener:
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
        yield listener


async def accepted(listener: socket.socket) -> socket.socket:
    async with asyncio.timeout(5):
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    return connection


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_bytes_go_both_ways_and_each_way_ends_by_itself(
    family: socket.AddressFamily,
) -> None:
    loop = asyncio.get_running_loop()
    async with nothing_kept(), listening(family) as listener:
        port = listener.getsockname()[1]
        async with PORTS.connect("test", "pod", port) as connection:
            with await accepted(listener) as peer:
                assert await connection.write(b"question")
                connection.close()
                assert await loop.sock_recv(peer, 100) == b"question"
                assert await loop.sock_recv(peer, 100) == b""
                await loop.sock_sendall(peer, b"answer")
                assert await until(connection, b"answer")
            assert await drained(connection) == b""


async def test_leaving_closes_and_aborting_resets() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as listener:
        port = listener.getsockname()[1]
        async with PORTS.connect("test", "pod", port):
            peer = await accepted(listener)
        with peer:
            assert await loop.sock_recv(peer, 1) == b""
        async with PORTS.connect("test", "pod", port) as connection:
            peer = await accepted(listener)
            connection.abort()
        with peer, pytest.raises(ConnectionResetError):
            await loop.sock_recv(peer, 1)


async def test_a_peer_that_resets_is_the_end() -> None:
    async with listening() as listener:
        port = listener.getsockname()[1]
        async with PORTS.connect("test", "pod", port) as connection:
            with await accepted(listener) as peer:
                linger = struct.pack("ii", 1, 0)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            assert await connection.read() == b""
            assert not await connection.write(bytes(1 << 20))


async def test_a_port_nobody_listens_on_is_named(free_port: int) -> None:
    async with nothing_kept():
        with pytest.raises(UnavailableError, match=rf"port {free_port} .* refused.* refused"):
            async with PORTS.connect("test", "pod", free_port):
                pass


async def test_a_network_that_is_gone_is_said_so(tmp_path: Path) -> None:
    ports = PodPorts(lambda _namespace, _id: tmp_path / "net")
    with pytest.raises(FailedPreconditionError, match="pod x: its network is gone"):
        async with ports.connect("test", "x", 80):
            pass


async def test_what_finds_no_pod_is_passed_on() -> None:
    def missing(_namespace: str, id_: str) -> Path | None:
        raise NotFoundError(f"there is no sandbox {id_}")

    with pytest.raises(NotFoundError, match="sandbox x"):
        async with PodPorts(missing).connect("test", "x", 80):
            pass
