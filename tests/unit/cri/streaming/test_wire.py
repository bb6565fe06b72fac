"""One connection: back pressure both ways, and noticing that the peer is gone."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from cri.streaming.hangups import Hangups
from cri.streaming.wire import Wire
from tests.waiting import PATIENCE

MUCH = 1 << 19


class Pair:
    """A wire and its peer, a plain socket."""

    def __init__(self, wire: Wire, peer: socket.socket) -> None:
        self.wire = wire
        self.peer = peer
        self.loop = asyncio.get_running_loop()

    async def fill(self) -> int:
        """Let the peer send until nobody takes more; return how much that was."""
        sent = 0
        try:
            async with asyncio.timeout(0.2):
                while True:
                    await self.loop.sock_sendall(self.peer, bytes(1 << 16))
                    sent += 1 << 16
        except TimeoutError:
            return sent


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)  # noqa: FBT003 - its only parameter
    hangups = Hangups()
    wire = Wire(hangups)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: wire, ours)
    yield Pair(wire, theirs)
    wire.abort()
    theirs.close()
    hangups.close()


async def test_what_was_given_back_comes_first(pair: Pair) -> None:
    await pair.loop.sock_sendall(pair.peer, b"second")
    pair.wire.give_back(b"first ")
    received = b""
    while len(received) < 12:
        received += await pair.wire.receive()
    assert received == b"first second"


async def test_what_nobody_reads_stops_the_peer(pair: Pair) -> None:
    sent = await pair.fill()
    assert sent < 8 * MUCH
    received = 0
    async with asyncio.timeout(PATIENCE):
        while received < sent:
            received += len(await pair.wire.receive())


async def test_a_peer_that_leaves_behind_unread_bytes_is_noticed(pair: Pair) -> None:
    lost = asyncio.Event()
    pair.wire.when_lost(lost.set)
    await pair.fill()
    pair.peer.close()
    async with asyncio.timeout(PATIENCE):
        await lost.wait()


async def test_writers_wait_for_room_and_go_on(pair: Pair) -> None:
    while pair.wire.unsent < MUCH:
        pair.wire.write(bytes(1 << 16))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pair.wire.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        while not waiting.done():
            await pair.loop.sock_recv(pair.peer, 1 << 16)
        assert waiting.result()


async def test_writers_are_told_that_the_peer_is_gone(pair: Pair) -> None:
    while pair.wire.unsent < MUCH:
        pair.wire.write(bytes(1 << 16))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        waiting = [group.create_task(pair.wire.room()) for _ in range(3)]
        await asyncio.sleep(0)
        pair.peer.close()
    assert [task.result() for task in waiting] == [False] * 3
    assert pair.wire.lost


async def test_half_a_close_leaves_the_other_half(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    assert await pair.wire.receive() == b""
    pair.wire.write(b"still there")
    assert await pair.loop.sock_recv(pair.peer, 100) == b"still there"
    pair.wire.finish()
    assert await pair.loop.sock_recv(pair.peer, 100) == b""


async def test_it_ends_when_no_byte_moves(pair: Pair) -> None:
    pair.wire.end_when_idle(0.05)
    async with asyncio.timeout(PATIENCE):
        assert await pair.wire.receive() == b""
    assert pair.wire.lost
