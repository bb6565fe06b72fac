"""WebSocket frames without I/O, on wsproto: messages come in pieces, so none has to fit memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from cri.streaming import ProtocolError

NORMAL = 1000
PROTOCOL_ERROR = 1002


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a message; `last` is set on its last one."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has closed the connection; nothing follows."""

    code: int


class WebSocket:
    """One connection after its handshake. Pings are answered."""

    def __init__(self, *, server: bool = True) -> None:
        role = ConnectionType.SERVER if server else ConnectionType.CLIENT
        self._connection = Connection(role)
        self._out: list[bytes] = []

    def receive(self, data: bytes) -> Iterator[Piece | Closed]:
        """Yield what the bytes tell; iterate to the end, then send what `take` returns.

        Raises:
            ProtocolError: it is no WebSocket; the connection is of no more use.
        """
        if self._connection.state not in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, BytesMessage):
                yield Piece(bytes(event.data), event.message_finished)
            elif isinstance(event, TextMessage):
                yield Piece(event.data.encode(), event.message_finished)
            elif isinstance(event, Ping):
                self._pong(event)
            elif isinstance(event, CloseConnection):
                yield self._closed(event)

    def take(self) -> bytes:
        """Return what is to be sent, and forget it."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def send(self, data: bytes, *, text: bool = False) -> None:
        """Send a whole message; nothing once the connection is closing."""
        if self._connection.state is ConnectionState.OPEN:
            message = TextMessage(data.decode("ascii")) if text else BytesMessage(data)
            self._out.append(bytes(self._connection.send(message)))

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection; idempotent."""
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            closing = CloseConnection(code=code, reason=reason or None)
            self._out.append(bytes(self._connection.send(closing)))

    def _pong(self, ping: Ping) -> None:
        if self._connection.state is ConnectionState.OPEN:
            self._out.append(bytes(self._connection.send(Pong(payload=ping.payload))))

    def _closed(self, event: CloseConnection) -> Closed:
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # wsproto tells its own complaints like this, without having changed its state.
            raise ProtocolError(f"cannot read a WebSocket frame: {event.reason}")
        self.close(event.code if event.code in (NORMAL, NORMAL + 1) else NORMAL)
        return Closed(event.code)
