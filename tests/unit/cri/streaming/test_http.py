"""Requests: read whole, bounded, and answered."""

import contextlib
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.streaming import ProtocolError, negotiation
from cri.streaming.http import Head, RefusedError, RequestReader, response
from cri.streaming.negotiation import Transport

REQUEST = (
    b"POST /exec/abc?x=1 HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
    b"X-Stream-Protocol-Version: v3.channel.k8s.io, channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
)


def read(data: bytes) -> Head:
    head = RequestReader().feed(data)
    assert head is not None
    return head


def test_a_request_is_read_however_it_is_cut() -> None:
    whole = read(REQUEST)
    assert (whole.method, whole.path) == ("POST", "/exec/abc?x=1")
    assert whole.values("x-stream-protocol-version") == [
        "v4.channel.k8s.io",
        "v3.channel.k8s.io",
        "channel.k8s.io",
    ]
    reader = RequestReader()
    heads = [reader.feed(REQUEST[index : index + 1]) for index in range(len(REQUEST))]
    assert heads[:-1] == [None] * (len(REQUEST) - 1)
    assert heads[-1] == whole


def test_what_follows_an_upgrade_is_handed_on() -> None:
    reader = RequestReader()
    head = reader.feed(REQUEST + b"\x80\x03\x00\x01")
    assert head is not None
    agreement = negotiation.command(head)
    answer, rest = reader.switch(agreement.headers)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert rest == b"\x80\x03\x00\x01"


def test_who_does_not_offer_to_switch_is_refused() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
    with pytest.raises(RefusedError, match="upgrade"):
        reader.switch([])


def test_answers_end_the_connection() -> None:
    answer = response(HTTPStatus.FORBIDDEN, "no", [("X-Why", "because")])
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nno\n")


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=100), max_size=4))
def test_garbage_raises_nothing_but_refusals(garbage: list[bytes]) -> None:
    reader = RequestReader()
    with contextlib.suppress(RefusedError):
        for data in garbage:
            reader.feed(data)


@settings(deadline=None)
@given(st.data())
def test_flipped_bytes_raise_nothing_but_refusals(data: st.DataObject) -> None:
    sent = bytearray(REQUEST)
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    reader = RequestReader()
    with contextlib.suppress(ProtocolError):
        head = reader.feed(bytes(sent))
        if head is not None:
            reader.switch(negotiation.command(head).headers)


def head(method: str, *headers: tuple[str, str]) -> Head:
    return Head(method, "/", [(name.lower(), value) for name, value in headers])


SOCKET = (
    ("Connection", "Upgrade"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def test_the_accept_token_is_that_of_rfc_6455() -> None:
    agreement = negotiation.command(head("GET", *SOCKET))
    assert ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in agreement.headers
    assert agreement.transport is Transport.WEBSOCKET
    assert agreement.protocol.name == ""


@pytest.mark.parametrize(
    ("offered", "taken", "transport"),
    [
        ("SPDY/3.1+portforward.k8s.io", "SPDY/3.1+portforward.k8s.io", Transport.TUNNEL),
        ("v9.x, v4.channel.k8s.io", "v4.channel.k8s.io", Transport.WEBSOCKET),
        ("v4.base64.channel.k8s.io", "v4.base64.channel.k8s.io", Transport.WEBSOCKET),
    ],
)
def test_forwarding_over_websockets(offered: str, taken: str, transport: Transport) -> None:
    agreement = negotiation.forward(head("GET", *SOCKET, ("Sec-WebSocket-Protocol", offered)))
    assert (agreement.protocol.name, agreement.transport) == (taken, transport)
    assert ("Sec-WebSocket-Protocol", taken) in agreement.headers


def test_the_clients_preference_counts() -> None:
    both = ("X-Stream-Protocol-Version", "v3.channel.k8s.io, v4.channel.k8s.io")
    asked = head("POST", ("Connection", "upgrade"), ("Upgrade", "spdy/3.1"), both)
    assert negotiation.command(asked).protocol.name == "v3.channel.k8s.io"


@pytest.mark.parametrize("key", ["", "x", "AAAA", "dGhlIHNhbXBsZSBub25jZQ==\x00"])
def test_a_key_must_be_one(key: str) -> None:
    asked = head("GET", *SOCKET[:3], ("Sec-WebSocket-Key", key))
    with pytest.raises(RefusedError) as raised:
        negotiation.command(asked)
    assert raised.value.status is HTTPStatus.BAD_REQUEST
