"""The client's side of a session over SPDY: what `ferry exec -it` and its kin speak.

Whoever has a URL of this server (or of any other that speaks the protocols of Kubernetes) opens
streams and copies; half-close and flow control are those of `SpdyStreams`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import h11

from cri.streaming import ProtocolError
from cri.streaming.hangups import Hangups
from cri.streaming.spdy_streams import SpdyStream, SpdyStreams
from cri.streaming.wire import Wire
from store.errors import UnavailableError

COMMAND: Final = "v4.channel.k8s.io"
FORWARD: Final = "portforward.k8s.io"

# We open streams, the server opens none.
_THEIRS: Final = 0
_PATIENCE: Final = 10.0


@asynccontextmanager
async def dialled(url: str, protocol: str) -> AsyncIterator[SpdyStreams]:
    """Give the streams of a session for the block, which has to `run` them.

    Raises:
        UnavailableError: the server is not there, or does not want to; says why.
    """
    hangups = Hangups()
    wire = Wire(hangups)
    try:
        try:
            async with asyncio.timeout(_PATIENCE):
                await _upgraded(wire, url, protocol)
        except (OSError, TimeoutError, ProtocolError, h11.RemoteProtocolError) as error:
            raise UnavailableError(f"cannot open a session at {_server(url)}: {error}") from error
        yield SpdyStreams(wire, _refuse, limit=_THEIRS, server=False)
    finally:
        wire.abort()
        hangups.close()


async def everything(stream: SpdyStream) -> bytes:
    """Return all that comes on a stream."""
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


def opened(streams: SpdyStreams, kind: str, headers: Mapping[str, str] | None = None) -> SpdyStream:
    """Open a stream of a kind."""
    return streams.open({"streamtype": kind, **(headers or {})})


async def _upgraded(wire: Wire, url: str, protocol: str) -> None:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: wire, parts.hostname or "", parts.port or 0, ssl=tls)
    http = h11.Connection(h11.CLIENT)
    wire.write(_request(http, parts.netloc, parts.path, protocol))
    while data := await wire.receive():
        http.receive_data(data)
        event = http.next_event()
        if isinstance(event, h11.InformationalResponse):
            wire.give_back(bytes(http.trailing_data[0]))
            return
        if isinstance(event, h11.Response):
            raise ProtocolError(f"it answers {event.status_code} {event.reason.decode()}")
    raise ProtocolError("it says nothing")


def _request(http: h11.Connection, host: str, target: str, protocol: str) -> bytes:
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": protocol,
        "Content-Length": "0",
    }
    head = h11.Request(method="POST", target=target, headers=list(headers.items()))
    return (http.send(head) or b"") + (http.send(h11.EndOfMessage()) or b"")


def _server(url: str) -> str:
    """Return a URL without its secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _refuse(stream: SpdyStream) -> None:
    stream.reset()
