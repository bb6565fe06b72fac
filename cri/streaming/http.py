"""The HTTP/1.1 request in front of every session, without I/O, on h11."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from cri.streaming import ProtocolError

_LIMIT: Final = 1 << 14
"""Request line and headers together; also more than a client's certificate of interest needs."""

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Head:
    """A request without a body. Names of headers are in lower case."""

    method: str
    path: str
    headers: Sequence[Header]

    def values(self, name: str) -> list[str]:
        """Return what a header says, cut at commas, in its order; empty parts are left out."""
        parts = (part.strip() for key, value in self.headers if key == name
                 for part in value.split(","))  # fmt: skip
        return [part for part in parts if part]

    def has(self, name: str) -> bool:
        """Tell whether the header is there at all."""
        return any(key == name for key, _ in self.headers)


class RefusedError(ProtocolError):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, why: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class RequestReader:
    """Reads one request."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)
        self._head: Head | None = None

    def feed(self, data: bytes) -> Head | None:
        """Return the request once it is complete.

        Raises:
            RefusedError: it is not HTTP/1.1, too large, or it has a body.
        """
        try:
            self._connection.receive_data(data)
            return self._next()
        except h11.RemoteProtocolError as error:
            status = _status(error.error_status_hint)
            raise RefusedError(status, f"cannot read the request: {error}") from error

    def switch(self, headers: Sequence[Header]) -> tuple[bytes, bytes]:
        """Leave HTTP: return the answer to send, and what has come behind the request.

        Raises:
            RefusedError: the client did not offer to leave it.
        """
        answer = h11.InformationalResponse(status_code=101, headers=_encoded(headers))
        try:
            sent = self._connection.send(answer)
        except h11.LocalProtocolError as error:
            why = "unable to upgrade: the request does not ask for it"
            raise RefusedError(HTTPStatus.BAD_REQUEST, why) from error
        return sent or b"", bytes(self._connection.trailing_data[0])

    def _next(self) -> Head | None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self._head = _head(event)
            elif isinstance(event, h11.EndOfMessage):
                return self._head
            elif isinstance(event, h11.Data):
                raise RefusedError(HTTPStatus.BAD_REQUEST, "cannot read the request: it has a body")
            else:
                return None


def response(status: HTTPStatus, text: str, headers: Iterable[Header] = ()) -> bytes:
    """Return an answer after which the connection ends."""
    body = f"{text}\n".encode()
    fixed = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    connection = h11.Connection(h11.SERVER)
    answer = h11.Response(
        status_code=int(status), reason=status.phrase.encode(), headers=_encoded([*headers, *fixed])
    )
    parts = (connection.send(answer), connection.send(h11.Data(data=body)))
    return b"".join(part or b"" for part in parts)


def _head(request: h11.Request) -> Head:
    headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers]
    return Head(request.method.decode("ascii"), request.target.decode("latin-1"), headers)


def _encoded(headers: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


def _status(hint: int) -> HTTPStatus:
    try:
        return HTTPStatus(hint)
    except ValueError:
        return HTTPStatus.BAD_REQUEST
