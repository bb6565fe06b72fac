"""SPDY's bytes in messages of a WebSocket: how the messages are cut says nothing."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.streaming import ProtocolError
from cri.streaming.tunnel import Tunnel
from cri.streaming.websocket import Closed, Piece, WebSocket


class Line:
    """Implements `Link`: `pieces` come in, what is written stays in `written`."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.written = b""
        self.finished = False
        self.unsent = 7

    async def receive(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def room(self) -> bool:
        return not self.finished

    def write(self, data: bytes) -> None:
        self.written += data

    def finish(self) -> None:
        self.finished = True

    def when_lost(self, callback: Callable[[], None]) -> None:
        callback()


def sent(*messages: bytes, close: bool = False) -> bytes:
    """Return what a client puts on the wire."""
    client = WebSocket(server=False)
    for message in messages:
        client.send(message)
    if close:
        client.close()
    return client.take()


async def everything(tunnel: Tunnel) -> bytes:
    parts = []
    while data := await tunnel.receive():
        parts.append(data)
    return b"".join(parts)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted({min(place, len(data)) for place in places}), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


@given(st.lists(st.binary(max_size=200), max_size=5), st.lists(st.integers(0, 1200), max_size=8))
def test_messages_become_a_stream_however_they_are_cut(
    messages: list[bytes], places: list[int]
) -> None:
    tunnel = Tunnel(Line(cut(sent(*messages), places)))
    assert asyncio.run(everything(tunnel)) == b"".join(messages)


async def test_what_is_written_is_one_message_each() -> None:
    line = Line([])
    tunnel = Tunnel(line)
    for data in (b"one", b"", b"two"):
        tunnel.write(data)
    tunnel.finish()
    events = list(WebSocket(server=False).receive(line.written))
    assert events == [Piece(b"one", last=True), Piece(b"two", last=True), Closed(1000)]
    assert line.finished


async def test_a_client_that_closes_is_answered_and_sends_no_more() -> None:
    line = Line([sent(b"last", close=True), b"never read"])
    tunnel = Tunnel(line)
    assert await everything(tunnel) == b"last"
    assert list(WebSocket(server=False).receive(line.written)) == [Closed(1000)]


async def test_what_is_no_websocket_is_a_protocol_error_and_is_told() -> None:
    line = Line([b"\xff" * 20])
    with pytest.raises(ProtocolError):
        await Tunnel(line).receive()
    assert list(WebSocket(server=False).receive(line.written)) == [Closed(1002)]


async def test_the_rest_is_the_links() -> None:
    line, told = Line([]), asyncio.Event()
    tunnel = Tunnel(line)
    tunnel.when_lost(told.set)
    assert (tunnel.unsent, told.is_set(), await tunnel.room()) == (7, True, True)
