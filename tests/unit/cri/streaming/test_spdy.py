"""SPDY/3.1: two roles against each other, any chunking, any garbage."""

import contextlib
import itertools
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.streaming import ProtocolError, spdy
from cri.streaming import spdy_frames as frames
from cri.streaming.spdy import (
    Data,
    Event,
    Finished,
    GoneAway,
    Opened,
    Ponged,
    Replied,
    Spdy,
    WasReset,
    Writable,
)

HEADERS = {"streamtype": "stdin", "port": "80"}


def pair() -> tuple[Spdy, Spdy]:
    return Spdy(server=False), Spdy()


def deliver(sender: Spdy, receiver: Spdy) -> list[Event]:
    return list(receiver.receive(sender.take()))


def joined(events: Sequence[Event]) -> list[Event]:
    """Join what only the network has cut."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            result[-1] = Data(event.stream, last.data + event.data)
        else:
            result.append(event)
    return result


def test_a_stream_opens_carries_bytes_both_ways_and_half_closes() -> None:
    client, server = pair()
    stream = client.open(HEADERS)
    assert deliver(client, server) == [Opened(1, HEADERS)]
    server.reply(stream)
    assert deliver(server, client) == [Replied(1, {})]
    client.send(stream, b"question")
    client.finish(stream)
    assert deliver(client, server) == [Data(1, b"question"), Finished(1)]
    server.send(stream, b"answer")
    server.finish(stream)
    assert deliver(server, client) == [Data(1, b"answer"), Finished(1)]
    assert client.sendable(stream) == server.sendable(stream) == -1


def test_numbers_rise_by_two() -> None:
    client, server = pair()
    assert [client.open({}), client.open({}), server.open({})] == [1, 3, 2]
    assert [client.ping(), client.ping(), server.ping()] == [1, 3, 2]


def test_a_reset_ends_both_directions_and_late_bytes_are_nothing() -> None:
    client, server = pair()
    stream = client.open({})
    deliver(client, server)
    server.reset(stream)
    client.send(stream, b"late")
    assert deliver(client, server) == []
    assert deliver(server, client) == [WasReset(1, frames.Status.CANCEL)]
    client.send(stream, b"later")
    client.finish(stream)
    assert client.take() == b""


def test_pings_are_answered_and_answers_told() -> None:
    client, server = pair()
    number = client.ping()
    assert deliver(client, server) == []
    assert deliver(server, client) == [Ponged(number)]


def test_after_going_away_no_stream_is_accepted() -> None:
    client, server = pair()
    client.open({})
    deliver(client, server)
    server.go_away()
    server.go_away()
    client.open({})
    assert deliver(client, server) == []
    assert deliver(server, client) == [GoneAway(1)]


def test_streams_beyond_the_limit_are_refused() -> None:
    client, server = Spdy(server=False), Spdy(streams=2)
    for _ in range(3):
        client.open({})
    assert deliver(client, server) == [Opened(1, {}), Opened(3, {})]
    assert deliver(server, client) == [WasReset(5, frames.Status.REFUSED_STREAM)]


def test_a_number_used_twice_is_reset() -> None:
    client, server = pair()
    client.open({})
    opened = client.take()
    assert list(server.receive(opened)) == [Opened(1, {})]
    again = frames.SynStream(1, client._writer.encode({})).encode()
    assert list(server.receive(again)) == []
    assert deliver(server, client) == [WasReset(1, frames.Status.PROTOCOL_ERROR)]


def test_without_any_window_from_the_peer_nothing_is_held_back() -> None:
    client, server = pair()
    stream = client.open({})
    deliver(client, server)
    for _ in range(10):
        server.send(stream, b"x" * spdy.MAX_DATA)
    assert server.sendable(stream) == spdy.MAX_DATA


def test_a_peer_that_shows_a_window_has_it_kept() -> None:
    client, server = pair()
    stream = client.open({})
    deliver(client, server)
    server.send(stream, b"x" * 60_000)
    update = frames.WindowUpdate(stream, 1000).encode()
    assert list(server.receive(update)) == [Writable(stream)]
    assert server.sendable(stream) == 65536 - 60_000  # the connection's window is the smaller one
    with pytest.raises(ValueError, match="window"):
        server.send(stream, b"x" * 6000)
    assert list(server.receive(frames.WindowUpdate(0, 3000).encode())) == [Writable(0)]
    assert server.sendable(stream) == 65536 - 60_000 + 1000


def test_settings_change_the_windows_of_open_streams() -> None:
    client, server = pair()
    stream = client.open({})
    deliver(client, server)
    server.send(stream, b"x" * 1000)
    smaller = frames.Settings({frames.Setting.INITIAL_WINDOW_SIZE: 1500})
    assert list(server.receive(smaller.encode())) == [Writable(0)]
    assert server.sendable(stream) == 500
    none = frames.Settings({frames.Setting.INITIAL_WINDOW_SIZE: 0})
    assert list(server.receive(none.encode())) == [Writable(0)]
    assert server.sendable(stream) == 0


def test_windows_open_as_bytes_are_consumed() -> None:
    client, server = pair()
    stream = client.open({})
    deliver(client, server)
    client.send(stream, b"x" * 40_000)
    deliver(client, server)
    server.consumed(stream, 30_000)
    assert server.take() == b""
    server.consumed(stream, 10_000)
    assert deliver(server, client) == [Writable(1), Writable(0)]
    assert client.sendable(stream) == 65536


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (struct.pack(">II", 0x80020001, 10) + bytes(10), "SPDY/3"),
        (struct.pack(">II", 0x80030001, 9) + bytes(9), "SYN_STREAM|type 1|stream 0"),
        (struct.pack(">II", 0x80030003, 7) + bytes(7), "type 3"),
        (struct.pack(">II", 0x80030001, 1 << 20), "1048576 bytes"),
        (struct.pack(">II", 7, 3) + b"abc", "stream 7"),
        (struct.pack(">II", 2, 3) + b"abc", "stream 2"),
        (struct.pack(">II", 0, 3) + b"abc", "stream 0"),
        (frames.SynStream(1, b"no zlib").encode(), "header block"),
        (frames.Settings({7: 0xFFFFFFFF}).encode(), "initial window"),
        (frames.WindowUpdate(0, 0x7FFFFFFF).encode(), "overflows"),
        (struct.pack(">III", 0x80030004, 4, 1000), "SETTINGS"),
    ],
)
def test_what_is_no_spdy_is_a_protocol_error(frame: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        list(Spdy().receive(frame))


def test_unknown_control_frames_are_passed_over() -> None:
    credential = struct.pack(">II", 0x8003000A, 4) + b"abcd"
    assert list(Spdy().receive(credential)) == []


def conversation() -> tuple[bytes, list[Event]]:
    """What a client may send, and what it means."""
    client = Spdy(server=False)
    first, second = client.open(HEADERS), client.open({"streamtype": "error"})
    client.send(first, b"hello " * 1000)
    client.send(second, bytes(range(256)))
    client.finish(first)
    client.ping()
    client.reset(second)
    client.open({})
    client.consumed(first, 50_000)
    client.go_away()
    sent = client.take()
    return sent, joined(list(Spdy().receive(sent)))


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 7000), max_size=30))
def test_chunking_does_not_matter(cuts: list[int]) -> None:
    sent, expected = conversation()
    server = Spdy()
    events: list[Event] = []
    edges = [0, *sorted(cut % len(sent) for cut in cuts), len(sent)]
    for start, end in itertools.pairwise(edges):
        events += server.receive(sent[start:end])
    assert joined(events) == expected
    assert len(expected) > 5


def test_one_byte_at_a_time_is_the_same() -> None:
    sent, expected = conversation()
    server = Spdy()
    assert joined([event for byte in sent for event in server.receive(bytes([byte]))]) == expected


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_protocol_errors(garbage: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        list(Spdy().receive(garbage))


@settings(max_examples=300, deadline=None)
@given(
    kind=st.integers(0, 12),
    flags=st.integers(0, 255),
    payload=st.binary(max_size=60),
    more=st.binary(max_size=40),
)
def test_frames_of_garbage_raise_nothing_but_protocol_errors(
    kind: int, flags: int, payload: bytes, more: bytes
) -> None:
    frame = struct.pack(">II", 0x80030000 | kind, flags << 24 | len(payload)) + payload
    server = Spdy()
    with contextlib.suppress(ProtocolError):
        list(server.receive(frame + more))
        list(server.receive(frame))
    server.take()


@settings(deadline=None)
@given(st.data())
def test_flipped_bytes_raise_nothing_but_protocol_errors(data: st.DataObject) -> None:
    sent = bytearray(conversation()[0])
    for _ in range(data.draw(st.integers(1, 5))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    server = Spdy()
    with contextlib.suppress(ProtocolError):
        for event in server.receive(bytes(sent)):
            if isinstance(event, Opened):
                server.reply(event.stream)
                server.send(event.stream, b"x")
            elif isinstance(event, Data):
                server.consumed(event.stream, len(event.data))
    server.take()
