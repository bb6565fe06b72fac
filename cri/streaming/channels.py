"""Messages of `*.channel.k8s.io`: several channels in one WebSocket, without I/O.

The first byte of a message is its channel. The base64 protocols write channel and data as text.
Version 5 adds the message `255, channel`, which closes one direction of a channel.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cri.streaming import ProtocolError
from cri.streaming.negotiation import Protocol
from cri.streaming.websocket import Piece

CLOSE: Final = 255
_ZERO: Final = ord("0")
_QUANTUM: Final = 4


@dataclass(frozen=True, slots=True)
class ChannelData:
    """Bytes for a channel, perhaps only a part of its message."""

    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ChannelEnd:
    """The peer will send no more on a channel."""

    channel: int


class Channels:
    """Reads and writes the messages of one connection."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._channel: int | None = None
        self._rest = b""

    @property
    def text(self) -> bool:
        """Whether messages are text."""
        return self._protocol.base64

    def encode(self, channel: int, data: bytes) -> bytes:
        """Return a message."""
        if self._protocol.base64:
            return bytes([_ZERO + channel]) + base64.b64encode(data)
        return bytes([channel]) + data

    def end(self, channel: int) -> bytes:
        """Return the message that closes our direction of a channel; empty if there is none."""
        return bytes([CLOSE, channel]) if self._protocol.close else b""

    def feed(self, piece: Piece) -> Iterator[ChannelData | ChannelEnd]:
        """Yield what a piece of a message tells.

        Raises:
            ProtocolError: it is no message of this protocol.
        """
        data = piece.data
        if self._channel is None and data:
            self._channel = data[0] - _ZERO if self._protocol.base64 else data[0]
            data = data[1:]
        channel = self._channel
        if piece.last:
            self._channel = None
        if channel is None:
            return
        if self._protocol.close and channel == CLOSE:
            yield from self._closing(data, last=piece.last)
        else:
            data = self._decoded(data, last=piece.last) if self._protocol.base64 else data
            if data:
                yield ChannelData(channel, data)

    def _closing(self, data: bytes, *, last: bool) -> Iterator[ChannelEnd]:
        whole, self._rest = self._rest + data, b""
        if len(whole) > 1 or (last and len(whole) != 1):
            raise ProtocolError("cannot close a channel: one byte must name it")
        if last:
            yield ChannelEnd(whole[0])
        else:
            self._rest = whole

    def _decoded(self, data: bytes, *, last: bool) -> bytes:
        whole = self._rest + data
        # The last four characters may be padded, so they wait until they are known not to be last.
        cut = len(whole) if last else max(0, len(whole) - 1) // _QUANTUM * _QUANTUM
        self._rest = whole[cut:]
        if not last and b"=" in whole[:cut]:
            raise ProtocolError("cannot read a message: its base64 goes on behind its end")
        try:
            return base64.b64decode(whole[:cut], validate=True)
        except binascii.Error as error:
            raise ProtocolError(f"cannot read a message: it is no base64: {error}") from error
