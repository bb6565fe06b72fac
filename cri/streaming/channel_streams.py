"""The channels of one WebSocket as sources and sinks."""

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from cri.streaming import ProtocolError
from cri.streaming.channels import ChannelData, ChannelEnd, Channels
from cri.streaming.inbound import Inbound
from cri.streaming.links import Link
from cri.streaming.negotiation import Protocol
from cri.streaming.websocket import PROTOCOL_ERROR, Closed, Piece, WebSocket

_UNREAD: Final = 1 << 18
# Clients hold a whole message in memory, perhaps as base64.
_MESSAGE: Final = 1 << 16

_log = logging.getLogger(__name__)


class Channel(Inbound):
    """One channel: a `Source` and a `Sink`."""

    def __init__(self, owner: "ChannelStreams", number: int) -> None:
        super().__init__(owner.taken)
        self._owner = owner
        self._number = number
        self._finished = False

    async def write(self, data: bytes) -> bool:
        """See `Sink.write`."""
        while data:
            if self._finished or not await self._owner.room():
                return False
            self._owner.send(self._number, data[:_MESSAGE])
            data = data[_MESSAGE:]
        return True

    def close(self) -> None:
        """See `Sink.close`. The client is not told: no protocol has a word for it from us."""
        self._finished = True


class ChannelStreams:
    """All channels of one connection.

    Args:
        link: carries the connection.
        readable: the channels the client may write to; what it writes to others is dropped.
        count: how many channels there are.
    """

    def __init__(
        self, link: Link, protocol: Protocol, *, readable: Collection[int], count: int
    ) -> None:
        self._link = link
        self._codec = Channels(protocol)
        self._socket = WebSocket()
        self._channels = [Channel(self, number) for number in range(count)]
        self._readable = frozenset(readable)
        self._read = asyncio.Event()
        self._closed = False
        for number, channel in enumerate(self._channels):
            if number not in self._readable:
                channel.no_more()
        link.when_lost(self._lost)

    def __getitem__(self, number: int) -> Channel:
        """Return a channel."""
        return self._channels[number]

    async def run(self) -> None:
        """Serve the connection until the peer is gone, closes it, or breaks the protocol."""
        try:
            while not self._closed and (data := await self._link.receive()):
                for event in self._socket.receive(data):
                    self._take(event)
                self._flush()
                await self._until_read()
        except ProtocolError as error:
            _log.debug("streaming: %s", error)
            self._socket.close(PROTOCOL_ERROR)
            self._flush()
        finally:
            self._lost()

    async def room(self) -> bool:
        """See `Link.room`."""
        return await self._link.room()

    def send(self, number: int, data: bytes) -> None:
        """Send one message."""
        self._socket.send(self._codec.encode(number, data), text=self._codec.text)
        self._flush()

    def say_goodbye(self) -> None:
        """Close the WebSocket, and throw away what still comes until the peer does, too."""
        for channel in self._channels:
            channel.abandon()
        self._socket.close()
        self._flush()

    def taken(self, _count: int) -> None:
        """Bytes of a channel were read."""
        if not self._stuffed:
            self._read.set()

    @property
    def _stuffed(self) -> bool:
        return any(channel.unread > _UNREAD for channel in self._channels)

    def _take(self, event: Piece | Closed) -> None:
        if isinstance(event, Closed):
            self._closed = True
            return
        for told in self._codec.feed(event):
            if told.channel in self._readable:
                self._act(self._channels[told.channel], told)
            elif isinstance(told, ChannelEnd) and told.channel >= len(self._channels):
                raise ProtocolError(f"cannot close channel {told.channel}: there is none")

    def _act(self, channel: Channel, told: ChannelData | ChannelEnd) -> None:
        if isinstance(told, ChannelData):
            channel.push(told.data)
        else:
            channel.no_more()

    async def _until_read(self) -> None:
        while self._stuffed:
            self._read.clear()
            await self._read.wait()

    def _flush(self) -> None:
        self._link.write(self._socket.take())

    def _lost(self) -> None:
        for channel in self._channels:
            channel.no_more()
            channel.close()
        self._read.set()
