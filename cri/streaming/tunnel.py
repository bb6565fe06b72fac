"""A byte stream in the messages of a WebSocket: what SPDY is tunnelled in."""

from collections import deque
from collections.abc import Callable

from cri.streaming import ProtocolError
from cri.streaming.links import Link
from cri.streaming.websocket import PROTOCOL_ERROR, Closed, Piece, WebSocket


class Tunnel:
    """Implements `Link` over another one. Where messages begin and end says nothing."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._socket = WebSocket()
        self._pieces: deque[bytes] = deque()
        self._closed = False

    @property
    def unsent(self) -> int:
        """See `Link.unsent`."""
        return self._link.unsent

    async def receive(self) -> bytes:
        """See `Link.receive`."""
        while not self._pieces and not self._closed:
            data = await self._link.receive()
            if not data:
                return b""
            try:
                for event in self._socket.receive(data):
                    self._take(event)
            except ProtocolError:
                self._socket.close(PROTOCOL_ERROR)
                raise
            finally:
                self._flush()
        return self._pieces.popleft() if self._pieces else b""

    async def room(self) -> bool:
        """See `Link.room`."""
        return await self._link.room()

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        if data:
            self._socket.send(data)
            self._flush()

    def finish(self) -> None:
        """See `Link.finish`."""
        self._socket.close()
        self._flush()
        self._link.finish()

    def when_lost(self, callback: Callable[[], None]) -> None:
        """See `Link.when_lost`."""
        self._link.when_lost(callback)

    def _take(self, event: Piece | Closed) -> None:
        if isinstance(event, Closed):
            self._closed = True
        elif event.data:
            self._pieces.append(event.data)

    def _flush(self) -> None:
        self._link.write(self._socket.take())
