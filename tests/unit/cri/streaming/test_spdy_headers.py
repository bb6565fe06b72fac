"""Header blocks: the dictionary of the specification, and limits."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.streaming import ProtocolError
from cri.streaming.spdy_headers import DICTIONARY, HeaderReader, HeaderWriter

NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=20)
VALUES = st.text(st.characters(max_codepoint=255), max_size=50)


def block(text: bytes) -> bytes:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    return compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)


def field(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def test_the_dictionary_is_the_specifications() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # in the zlib header of every SPDY/3 peer


@settings(deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), min_size=1, max_size=5))
def test_blocks_come_back_as_they_were_one_after_another(blocks: list[dict[str, str]]) -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    for headers in blocks:
        assert reader.decode(writer.encode(headers)) == headers


def test_later_blocks_use_earlier_ones() -> None:
    writer = HeaderWriter()
    headers = {"streamtype": "data", "port": "8080", "requestid": "12345"}
    assert len(writer.encode(headers)) > 2 * len(writer.encode(headers))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no count"),
        (struct.pack(">I", 1), "too short"),
        (struct.pack(">I", 1) + field(b"name"), "too short"),
        (struct.pack(">I", 1) + field(b"name") + struct.pack(">I", 9) + b"x", "inside a text"),
        (struct.pack(">I", 1) + field(b"name") + b"\0\0", "inside a length"),
        (struct.pack(">I", 1) + field(b"Name") + field(b"x"), "bad name"),
        (struct.pack(">I", 1) + field(b"") + field(b"x"), "bad name"),
        (struct.pack(">I", 2) + (field(b"a") + field(b"x")) * 2, "twice"),
        (struct.pack(">I", 0) + field(b"a") + field(b"x"), "longer"),
        (struct.pack(">I", 0xFFFFFFFF), "too short"),
    ],
)
def test_what_is_no_block_is_a_protocol_error(text: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        HeaderReader().decode(block(text))


def test_a_bomb_is_a_protocol_error() -> None:
    bomb = block(bytes(100_000_000))
    assert len(bomb) < 200_000
    with pytest.raises(ProtocolError, match="more than"):
        HeaderReader().decode(bomb)


def test_the_end_of_the_zlib_stream_is_a_protocol_error() -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    ended = compressor.compress(struct.pack(">I", 0)) + compressor.flush()
    reader = HeaderReader()
    assert reader.decode(ended) == {}
    with pytest.raises(ProtocolError):
        reader.decode(ended)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=4))
def test_garbage_raises_nothing_but_protocol_errors(blocks: list[bytes]) -> None:
    reader = HeaderReader()
    with contextlib.suppress(ProtocolError):
        for garbage in blocks:
            reader.decode(garbage)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_compressed_garbage_raises_nothing_but_protocol_errors(text: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        HeaderReader().decode(block(text))
