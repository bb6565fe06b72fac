"""Sizes of terminals, however they are cut."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.streaming import ProtocolError
from cri.streaming.resize import Sizes
from runtime.io import Size


def test_a_size_is_an_object() -> None:
    assert Sizes().feed(b'{"Width":80,"Height":24}') == Size(width=80, height=24)
    assert Sizes().feed(b' {"height":24,"width":80}\n') == Size(width=80, height=24)
    assert Sizes().feed(b"{}") == Size(width=0, height=0)


def test_the_last_one_counts() -> None:
    data = b'{"Width":1,"Height":2}{"Width":3,"Height":4}\n{"Width":5,"Height":6}{"Wid'
    sizes = Sizes()
    assert sizes.feed(data) == Size(width=5, height=6)
    assert sizes.feed(b'th":7,"Height":8}') == Size(width=7, height=8)


@settings(deadline=None)
@given(
    wanted=st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=1),
    data=st.data(),
)
def test_cuts_do_not_matter(wanted: list[tuple[int, int]], data: st.DataObject) -> None:
    text = "".join(json.dumps({"Width": width, "Height": height}) for width, height in wanted)
    sizes, last, rest = Sizes(), None, text.encode()
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        last = sizes.feed(rest[:cut]) or last
        rest = rest[cut:]
    assert last == Size(width=wanted[-1][0], height=wanted[-1][1])


@pytest.mark.parametrize(
    "text",
    [
        b"x",
        b"[1,2]",
        b"[" * 100_000,
        b'{"Width":-1}',
        b'{"Width":65536}',
        b'{"Width":1.5}',
        b'{"Width":true}',
        b'{"Width":"80"}',
        b'{"Width":null}',
        b'{"Width":}',
        b'{"Width"' + b" " * 5000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_size_is_a_protocol_error(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="size"):
        Sizes().feed(text)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_raises_nothing_but_protocol_errors(garbage: list[bytes]) -> None:
    sizes = Sizes()
    with contextlib.suppress(ProtocolError):
        for data in garbage:
            sizes.feed(data)
