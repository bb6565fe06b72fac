"""Streams through the kubelet's secure port: commands and ports of a pod."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from urllib.parse import urlencode

from cri.streaming.websocket import Closed, WebSocket
from e2e.kubelet.api import SECURE
from e2e.kubelet.manifests import NAMESPACE
from tests.streaming import (
    Command,
    Raw,
    SpdyClient,
    WebSocketClient,
    connected,
    path,
    spdy_client,
    websocket_client,
    websocket_headers,
)

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
FORWARD: Final = "portforward.k8s.io"
TUNNELLED: Final = f"SPDY/3.1+{FORWARD}"


def tls() -> ssl.SSLContext:
    """Take the certificate that the kubelet has signed itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def command_url(
    verb: str, pod: str, argv: Sequence[str] = (), *, stdin: bool = False, tty: bool = False
) -> str:
    """Return where a command runs in the container `main`, or where one attaches to it."""
    query = [("command", word) for word in argv]
    query += [("output", "1"), ("tty" if tty else "error", "1")]
    query += [("input", "1")] if stdin else []
    return f"{SECURE}/{verb}/{NAMESPACE}/{pod}/main?{urlencode(query)}"


def forward_url(pod: str, port: int = 0) -> str:
    """Return where a pod's ports are; a plain WebSocket names the port at once."""
    query = f"?port={port}" if port else ""
    return f"{SECURE}/portForward/{NAMESPACE}/{pod}{query}"


def spdy(url: str, version: str = V4) -> AbstractAsyncContextManager[SpdyClient]:
    """Speak SPDY for the block."""
    return spdy_client(url, version, tls=tls())


def websocket(url: str, protocol: str) -> AbstractAsyncContextManager[WebSocketClient]:
    """Speak WebSocket for the block."""
    return websocket_client(url, protocol, tls=tls())


async def websocket_command(client: WebSocketClient, stdin: bytes | None = None) -> Command:
    """Send a command its input, as the protocol can, and return what it said."""
    if stdin is not None:
        client.send(STDIN, stdin)
        client.end(STDIN)
    await client.until_closed()
    said = client.channels
    return Command(
        stdout=said.get(STDOUT, b""),
        stderr=said.get(STDERR, b""),
        status=json.loads(said.get(ERROR, b"{}")),
    )


class TunnelledClient(SpdyClient):
    """SPDY whose bytes are the messages of a WebSocket."""

    def __init__(self, raw: Raw) -> None:
        super().__init__(raw)
        self._socket = WebSocket(server=False)

    def flush(self) -> None:
        if data := self.codec.take():
            self._socket.send(data)
        self.raw.writer.write(self._socket.take())

    async def step(self) -> None:
        self.flush()
        data = await self.raw.reader.read(1 << 18)
        self.gone = self.gone or not data
        for event in self._socket.receive(data):
            if isinstance(event, Closed):
                self.gone = True
                continue
            for told in self.codec.receive(event.data):
                self._take(told)
        self.flush()


@asynccontextmanager
async def tunnel(url: str) -> AsyncIterator[TunnelledClient]:
    """Speak SPDY inside a WebSocket for the block."""
    async with connected(url, tls()) as raw:
        answer = await raw.request("GET", path(url), websocket_headers(TUNNELLED))
        assert answer.status == 101, answer
        assert answer.headers["sec-websocket-protocol"] == [TUNNELLED]
        yield TunnelledClient(raw)


class Port:
    """One connection to a pod's port: a pair of streams."""

    def __init__(self, client: SpdyClient, data: int, error: int) -> None:
        self._client = client
        self._data = data
        self._error = error

    async def ask(self, request: bytes, length: int) -> bytes:
        """Send a request; return an answer of so many bytes."""
        await self._client.send(self._data, request)
        return await self._client.until_data(self._data, length)

    async def close(self) -> bytes:
        """Send no more; return what the runtime says was wrong."""
        self._client.finish(self._data)
        return (await self._client.until_over(self._error)).data


async def port(client: SpdyClient, number: int, request: int = 0) -> Port:
    """Connect to a port of the pod; `request` tells connections of one client apart."""
    headers = {"port": str(number), "requestid": str(request)}
    error = await client.open({"streamtype": "error", **headers})
    client.finish(error)
    data = await client.open({"streamtype": "data", **headers})
    return Port(client, data, error)
