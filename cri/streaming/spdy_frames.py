"""Control frames of SPDY/3.1 as values: pure functions from payload to frame and back.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ section 2.6. Header blocks stay
compressed here. Data frames have no payload format; `spdy` passes their bytes on as they come.
"""

import enum
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cri.streaming import ProtocolError

VERSION: Final = 3
HEAD: Final = struct.Struct(">II")
"""Control bit, version and type, or stream id; then flags and length."""

CONTROL: Final = 0x80000000
FIN: Final = 0x01
UNIDIRECTIONAL: Final = 0x02
STREAM: Final = 0x7FFFFFFF
LENGTH: Final = 0xFFFFFF
BROKEN: Final = 1
"""Why one goes away: the peer broke the protocol (2.6.6)."""

_ONE: Final = struct.Struct(">I")
_TWO: Final = struct.Struct(">II")


class Status(enum.IntEnum):
    """Why a stream is reset (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class Setting(enum.IntEnum):
    """What SETTINGS may set; others are passed over (2.6.4)."""

    MAX_CONCURRENT_STREAMS = 4
    INITIAL_WINDOW_SIZE = 7


@dataclass(frozen=True, slots=True)
class SynStream:
    """Opens a stream. `fin`: the sender will send nothing on it."""

    stream: int
    block: bytes
    fin: bool = False
    unidirectional: bool = False

    def encode(self) -> bytes:
        """Return the frame."""
        flags = (FIN if self.fin else 0) | (UNIDIRECTIONAL if self.unidirectional else 0)
        return _frame(1, _TWO.pack(self.stream, 0) + b"\0\0" + self.block, flags)


@dataclass(frozen=True, slots=True)
class SynReply:
    """Accepts a stream."""

    stream: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(2, _ONE.pack(self.stream) + self.block, FIN if self.fin else 0)


@dataclass(frozen=True, slots=True)
class Reset:
    """Ends a stream in both directions."""

    stream: int
    status: int

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(3, _TWO.pack(self.stream, self.status))


@dataclass(frozen=True, slots=True)
class Settings:
    """Sets what the sender expects."""

    values: Mapping[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the frame."""
        entries = b"".join(_TWO.pack(key, value) for key, value in self.values.items())
        return _frame(4, _ONE.pack(len(self.values)) + entries)


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants the same frame back. Odd numbers are the client's, even ones the server's."""

    number: int

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(6, _ONE.pack(self.number))


@dataclass(frozen=True, slots=True)
class GoAway:
    """Says that no more streams will be accepted after the stream `last`."""

    last: int
    status: int = 0

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(7, _TWO.pack(self.last, self.status))


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    stream: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(8, _ONE.pack(self.stream) + self.block, FIN if self.fin else 0)


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """Allows `delta` more bytes on a stream; stream 0 is the connection (SPDY/3.1)."""

    stream: int
    delta: int

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(9, _TWO.pack(self.stream, self.delta))


Frame = SynStream | SynReply | Reset | Settings | Ping | GoAway | Headers | WindowUpdate


def parse(kind: int, flags: int, payload: bytes) -> Frame | None:
    """Return a control frame; None for types we do not know, which the protocol says to ignore.

    Raises:
        ProtocolError: its payload does not fit its type.
    """
    parser = _PARSERS.get(kind)
    if parser is None:
        return None
    try:
        return parser(payload, flags)
    except struct.error as error:
        raise ProtocolError(f"cannot read a frame of type {kind}: {error}") from error


def data_head(stream: int, length: int, *, fin: bool = False) -> bytes:
    """Return the head of a data frame; `length` is below 16 MiB."""
    return HEAD.pack(stream, (FIN if fin else 0) << 24 | length)


def _frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return HEAD.pack(CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def _syn_stream(payload: bytes, flags: int) -> Frame:
    stream, _ = _TWO.unpack_from(payload)
    if len(payload) < 10:
        raise ProtocolError("cannot read SYN_STREAM: it is too short")
    block = payload[10:]
    return SynStream(_named(stream), block, bool(flags & FIN), bool(flags & UNIDIRECTIONAL))


def _syn_reply(payload: bytes, flags: int) -> Frame:
    (stream,) = _ONE.unpack_from(payload)
    return SynReply(_named(stream), payload[4:], bool(flags & FIN))


def _headers(payload: bytes, flags: int) -> Frame:
    (stream,) = _ONE.unpack_from(payload)
    return Headers(_named(stream), payload[4:], bool(flags & FIN))


def _reset(payload: bytes, _flags: int) -> Frame:
    stream, status = _TWO.unpack(payload)
    return Reset(_named(stream), status)


def _settings(payload: bytes, _flags: int) -> Frame:
    (count,) = _ONE.unpack_from(payload)
    if len(payload) != _ONE.size + count * _TWO.size:
        raise ProtocolError("cannot read SETTINGS: its length does not fit its count")
    return Settings({key & LENGTH: value for key, value in _TWO.iter_unpack(payload[4:])})


def _ping(payload: bytes, _flags: int) -> Frame:
    (number,) = _ONE.unpack(payload)
    return Ping(number)


def _go_away(payload: bytes, _flags: int) -> Frame:
    last, status = _TWO.unpack(payload)
    return GoAway(last & STREAM, status)


def _window_update(payload: bytes, _flags: int) -> Frame:
    stream, delta = _TWO.unpack(payload)
    return WindowUpdate(stream & STREAM, delta & STREAM)


def _named(stream: int) -> int:
    if not stream & STREAM:
        raise ProtocolError("cannot use stream 0: it has no number")
    return int(stream & STREAM)


_PARSERS: Final[Mapping[int, Callable[[bytes, int], Frame]]] = {
    1: _syn_stream,
    2: _syn_reply,
    3: _reset,
    4: _settings,
    6: _ping,
    7: _go_away,
    8: _headers,
    9: _window_update,
}
