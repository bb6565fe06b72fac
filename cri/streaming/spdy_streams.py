"""A SPDY connection's streams as sources and sinks."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from cri.streaming import ProtocolError, spdy
from cri.streaming.inbound import Inbound
from cri.streaming.links import Link
from cri.streaming.spdy_frames import Status

# As long as a stream has more than this unread, nothing more is read from its connection.
_UNREAD: Final = 1 << 18

_log = logging.getLogger(__name__)


class SpdyStream(Inbound):
    """One stream: a `Source` and a `Sink`."""

    def __init__(self, owner: "SpdyStreams", number: int, headers: Mapping[str, str]) -> None:
        super().__init__(self._taken)
        self.number = number
        self.headers = headers
        self._owner = owner
        self._window: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._over = False

    async def write(self, data: bytes) -> bool:
        """See `Sink.write`."""
        while data:
            if not await self._owner.link.room():
                return False
            count = self._owner.codec.sendable(self.number)
            if count < 0:
                return False
            if count:
                self._owner.codec.send(self.number, data[:count])
                self._owner.flush()
                data = data[count:]
            else:
                await self._widened()
        return True

    def close(self) -> None:
        """See `Sink.close`."""
        self._owner.codec.finish(self.number)
        self._owner.flush()

    def reset(self, status: Status = Status.CANCEL) -> None:
        """End both directions."""
        self._owner.codec.reset(self.number, status)
        self._owner.flush()
        self.end()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call back once the peer has reset the stream or is gone; at once if it has, or is."""
        if self._over:
            callback()
        else:
            self._callbacks.append(callback)

    def widen(self) -> None:
        """More may be sent, perhaps."""
        if self._window is not None and not self._window.done():
            self._window.set_result(None)

    def end(self) -> None:
        """Both directions are over."""
        self._over = True
        self.no_more()
        self.widen()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    async def _widened(self) -> None:
        self._window = asyncio.get_running_loop().create_future()
        try:
            await self._window
        finally:
            self._window = None

    def _taken(self, count: int) -> None:
        self._owner.taken(self, count)


class SpdyStreams:
    """All streams of one connection.

    Args:
        link: carries the connection.
        opened: called with each new stream of the peer's; it replies (`accept`) or resets it.
        limit: how many streams may be open at once; the peer's beyond it are refused.
        server: whether the peer is the client.
    """

    def __init__(
        self,
        link: Link,
        opened: Callable[[SpdyStream], None],
        *,
        limit: int,
        server: bool = True,
    ) -> None:
        self.link = link
        self.codec = spdy.Spdy(server=server, streams=limit)
        self._opened = opened
        self._streams: dict[int, SpdyStream] = {}
        self._stuffed: set[int] = set()
        self._read: asyncio.Event = asyncio.Event()
        link.when_lost(self._lost)

    async def run(self) -> None:
        """Serve the connection until the peer is gone or breaks the protocol."""
        try:
            while data := await self.link.receive():
                for event in self.codec.receive(data):
                    self._take(event)
                self.flush()
                while self._stuffed:
                    self._read.clear()
                    await self._read.wait()
        except ProtocolError as error:
            _log.debug("streaming: %s", error)
            self.codec.go_away(broken=True)
            self.flush()
            self.link.finish()
        finally:
            self._lost()

    def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """Open a stream; a peer that does not want it resets it."""
        number = self.codec.open(headers)
        self.flush()
        stream = self._streams[number] = SpdyStream(self, number, headers)
        return stream

    def accept(self, stream: SpdyStream) -> None:
        """Reply to a new stream."""
        self.codec.reply(stream.number)
        self.flush()

    def say_goodbye(self) -> None:
        """Finish every stream and accept no more; the peer is to close the connection."""
        for stream in self._streams.values():
            self.codec.finish(stream.number)
            stream.abandon()
        self.codec.go_away()
        self.flush()

    def flush(self) -> None:
        """Send what the codec has to send."""
        self.link.write(self.codec.take())

    def taken(self, stream: SpdyStream, count: int) -> None:
        """Bytes of a stream were read."""
        self.codec.consumed(stream.number, count)
        self.flush()
        if stream.unread <= _UNREAD // 2:
            self._unstuff(stream.number)

    def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(number, headers):
                stream = self._streams[number] = SpdyStream(self, number, headers)
                self._opened(stream)
            case spdy.Data(number, data):
                self._data(number, data)
            case spdy.Finished(number):
                self._stream(number, SpdyStream.no_more)
            case spdy.WasReset(number):
                self._stream(number, SpdyStream.end)
                self._streams.pop(number, None)
                self._unstuff(number)
            case spdy.Writable(number):
                for known in self._streams.values():
                    if number in (0, known.number):
                        known.widen()
            case _:
                pass

    def _data(self, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self.codec.consumed(number, len(data))
            return
        stream.push(data)
        if stream.unread > _UNREAD:
            self._stuffed.add(number)

    def _stream(self, number: int, act: Callable[[SpdyStream], None]) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            act(stream)

    def forget(self, stream: SpdyStream) -> None:
        """End what is left of a stream and keep nothing of it."""
        stream.abandon()
        self.codec.finish(stream.number)
        self.codec.reset(stream.number)
        self.flush()
        self._streams.pop(stream.number, None)
        self._unstuff(stream.number)

    def _unstuff(self, number: int) -> None:
        self._stuffed.discard(number)
        if not self._stuffed:
            self._read.set()

    def _lost(self) -> None:
        self._stuffed.clear()
        self._read.set()
        for stream in tuple(self._streams.values()):
            stream.end()
        self._streams.clear()
