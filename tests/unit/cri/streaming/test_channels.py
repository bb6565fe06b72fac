"""Messages of channels, and the WebSocket below them: any cut, any garbage."""

import contextlib
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.streaming import ProtocolError
from cri.streaming.channels import ChannelData, ChannelEnd, Channels
from cri.streaming.negotiation import COMMAND_WEBSOCKET, Protocol
from cri.streaming.websocket import Closed, Piece, WebSocket

V5 = COMMAND_WEBSOCKET["v5.channel.k8s.io"]
V4 = COMMAND_WEBSOCKET["v4.channel.k8s.io"]
BASE64 = COMMAND_WEBSOCKET["v4.base64.channel.k8s.io"]
PROTOCOLS = st.sampled_from(list(COMMAND_WEBSOCKET.values()))

Told = ChannelData | ChannelEnd


def joined(told: Sequence[Told]) -> list[Told]:
    result: list[Told] = []
    for one in told:
        last = result[-1] if result else None
        if (
            isinstance(one, ChannelData)
            and isinstance(last, ChannelData)
            and one.channel == last.channel
        ):
            result[-1] = ChannelData(one.channel, last.data + one.data)
        else:
            result.append(one)
    return result


def fed(channels: Channels, message: bytes, cuts: Sequence[int] = ()) -> list[Told]:
    edges = [0, *sorted(cut % (len(message) + 1) for cut in cuts), len(message)]
    pairs = list(itertools.pairwise(edges))
    pieces = [Piece(message[start:end], last=False) for start, end in pairs[:-1]]
    pieces.append(Piece(message[pairs[-1][0] :], last=True))
    return joined([told for piece in pieces for told in channels.feed(piece)])


@settings(deadline=None)
@given(PROTOCOLS, st.integers(0, 4), st.binary(max_size=60), st.lists(st.integers(0, 100)))
def test_what_was_encoded_is_read_however_it_is_cut(
    protocol: Protocol, channel: int, data: bytes, cuts: list[int]
) -> None:
    channels = Channels(protocol)
    expected = [ChannelData(channel, data)] if data else []
    assert fed(channels, channels.encode(channel, data), cuts) == expected
    assert fed(channels, channels.encode(1, b"next")) == [ChannelData(1, b"next")]


@pytest.mark.parametrize("cuts", [[], [1], [0, 1, 1]])
def test_version_5_ends_channels(cuts: list[int]) -> None:
    channels = Channels(V5)
    assert fed(channels, channels.end(0), cuts) == [ChannelEnd(0)]
    assert Channels(V4).end(0) == b""
    assert fed(Channels(V4), b"\xff\x00") == [ChannelData(255, b"\x00")]


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x00\x00"])
def test_only_one_channel_ends_at_a_time(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="close a channel"):
        fed(Channels(V5), message)


@pytest.mark.parametrize(
    "message", [b"0!!!!", b"0QUI", b"0QQ==QQ==", b"0QQ=", b"0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("cuts", [[], [5], [2, 4]])
def test_what_is_no_base64_is_a_protocol_error(message: bytes, cuts: list[int]) -> None:
    with pytest.raises(ProtocolError, match="base64"):
        fed(Channels(BASE64), message, cuts)


def test_empty_messages_are_nothing() -> None:
    channels = Channels(V5)
    assert fed(channels, b"") == []
    assert fed(channels, b"\x01") == []
    assert fed(channels, b"\x01x") == [ChannelData(1, b"x")]


@settings(deadline=None)
@given(PROTOCOLS, st.lists(st.tuples(st.binary(max_size=20), st.booleans()), max_size=6))
def test_garbage_raises_nothing_but_protocol_errors(
    protocol: Protocol, pieces: list[tuple[bytes, bool]]
) -> None:
    channels = Channels(protocol)
    with contextlib.suppress(ProtocolError):
        for data, last in pieces:
            list(channels.feed(Piece(data, last)))


class TestWebSocket:
    def test_messages_arrive_in_both_directions(self) -> None:
        client, server = WebSocket(server=False), WebSocket()
        client.send(b"question")
        assert list(server.receive(client.take())) == [Piece(b"question", last=True)]
        server.send(b"answer", text=True)
        assert list(client.receive(server.take())) == [Piece(b"answer", last=True)]

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=300), max_size=4), st.lists(st.integers(0, 2000)))
    def test_cuts_do_not_matter(self, messages: list[bytes], cuts: list[int]) -> None:
        client, server = WebSocket(server=False), WebSocket()
        for message in messages:
            client.send(message)
        sent = client.take()
        edges = [0, *sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)]
        received = [b""]
        for start, end in itertools.pairwise(edges):
            for piece in server.receive(sent[start:end]):
                assert isinstance(piece, Piece)
                received[-1] += piece.data
                if piece.last:
                    received.append(b"")
        assert received[:-1] == messages

    def test_pings_are_answered(self) -> None:
        server = WebSocket()
        assert list(server.receive(bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi")) == []
        assert server.take() == b"\x8a\x02hi"

    def test_closing_is_answered_once(self) -> None:
        client, server = WebSocket(server=False), WebSocket()
        client.close()
        assert list(server.receive(client.take())) == [Closed(1000)]
        assert list(client.receive(server.take())) == [Closed(1000)]
        server.close()
        server.send(b"too late")
        assert server.take() == b""
        assert list(server.receive(b"whatever")) == []

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x82\x00",  # not masked
            b"\xc2\x80\x00\x00\x00\x00",  # a reserved bit
            b"\x83\x80\x00\x00\x00\x00",  # a reserved opcode
            b"\x80\x80\x00\x00\x00\x00",  # goes on with nothing
            b"\x89\xfe\x00\x7e\x00\x00\x00\x00",  # a long ping
            b"\x81\x81\x00\x00\x00\x00\xff",  # text that is none
            b"\x88\x81\x00\x00\x00\x00\x00",  # half a code
        ],
    )
    def test_what_is_no_frame_is_a_protocol_error(self, garbage: bytes) -> None:
        with pytest.raises(ProtocolError, match="WebSocket"):
            list(WebSocket().receive(garbage))

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.binary(max_size=60), max_size=4))
    def test_garbage_raises_nothing_but_protocol_errors(self, garbage: list[bytes]) -> None:
        server = WebSocket()
        with contextlib.suppress(ProtocolError):
            for data in garbage:
                list(server.receive(data))
        server.close()
        server.take()
