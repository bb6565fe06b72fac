"""Clients of the streaming server, as small as can be, on our own codecs in the client's role."""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cri.streaming import spdy
from cri.streaming.channels import ChannelData, Channels
from cri.streaming.negotiation import COMMAND_WEBSOCKET, Protocol
from cri.streaming.websocket import Closed, Piece, WebSocket

VERSION = "X-Stream-Protocol-Version"
SPDY_UPGRADE = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's head."""

    status: int
    headers: Mapping[str, Sequence[str]]


class Raw:
    """A connection on which anything can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self, method: str, path: str, headers: Sequence[tuple[str, str]]) -> Answer:
        """Send a request and return the head of its answer."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the head of an answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.split("\r\n")[:-2]
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        return Answer(int(first.split()[1]), headers)


@asynccontextmanager
async def connected(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """Connect to a URL's host for the block."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def path(url: str) -> str:
    """Return what to ask a URL's host for."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@dataclass(slots=True)
class Stream:
    """What has come on one stream."""

    data: bytes = b""
    finished: bool = False
    reset: int = 0
    accepted: bool = False


class SpdyClient:
    """A SPDY connection after its upgrade; `streams` by number."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.codec = spdy.Spdy(server=False)
        self.streams: dict[int, Stream] = {}
        self.gone = False

    async def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream and return its number once it is accepted or reset."""
        number = self.codec.open(headers)
        stream = self.streams[number] = Stream()
        while not (stream.accepted or stream.reset or self.gone):
            await self.step()
        return number

    async def send(self, number: int, data: bytes) -> None:
        """Send bytes, as the server's window allows."""
        while data and not self.gone:
            count = self.codec.sendable(number)
            if count < 0:
                return
            self.codec.send(number, data[:count])
            data = data[count:]
            if count:
                self.flush()
                await self.raw.writer.drain()
            else:
                await self.step()

    def finish(self, number: int) -> None:
        """Send no more."""
        self.codec.finish(number)
        self.flush()

    def flush(self) -> None:
        """Send what there is to send."""
        self.raw.writer.write(self.codec.take())

    async def step(self) -> None:
        """Take what comes next."""
        self.flush()
        data = await self.raw.reader.read(1 << 18)
        self.gone = self.gone or not data
        for event in self.codec.receive(data):
            self._take(event)
        self.flush()

    async def until_over(self, number: int) -> Stream:
        """Return a stream once it is finished or reset."""
        stream = self.streams[number]
        while not (stream.finished or stream.reset or self.gone):
            await self.step()
        return stream

    async def until_data(self, number: int, count: int) -> bytes:
        """Return a stream's bytes once there are so many."""
        stream = self.streams[number]
        while len(stream.data) < count and not self.gone:
            await self.step()
        return stream.data

    def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Replied(number, _):
                self.streams[number].accepted = True
            case spdy.Data(number, data):
                self.streams[number].data += data
                self.codec.consumed(number, len(data))
            case spdy.Finished(number):
                self.streams[number].finished = True
            case spdy.WasReset(number, status):
                self.streams[number].reset = status
            case spdy.GoneAway():
                self.gone = True
            case _:
                pass


@asynccontextmanager
async def spdy_client(
    url: str, *versions: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SpdyClient]:
    """Upgrade to SPDY for the block."""
    async with connected(url, tls) as raw:
        headers = [*SPDY_UPGRADE.items(), *((VERSION, version) for version in versions)]
        answer = await raw.request("POST", path(url), [*headers, ("Content-Length", "0")])
        assert answer.status == 101, answer
        assert answer.headers["upgrade"] == ["SPDY/3.1"]
        assert answer.headers[VERSION.lower()][0] in versions
        yield SpdyClient(raw)


class WebSocketClient:
    """A WebSocket after its handshake; `channels` by number."""

    def __init__(self, raw: Raw, protocol: Protocol) -> None:
        self.raw = raw
        self.socket = WebSocket(server=False)
        self.codec = Channels(protocol)
        self.channels: dict[int, bytes] = {}
        self.closed: int | None = None
        self.messages: list[bytes] = []

    def send(self, channel: int, data: bytes) -> None:
        """Send one message."""
        self.socket.send(self.codec.encode(channel, data), text=self.codec.text)
        self.flush()

    def end(self, channel: int) -> None:
        """Close our direction of a channel, where the protocol can."""
        self.socket.send(self.codec.end(channel))
        self.flush()

    def flush(self) -> None:
        """Send what there is to send."""
        self.raw.writer.write(self.socket.take())

    async def step(self) -> None:
        """Take what comes next."""
        data = await self.raw.reader.read(1 << 18)
        if not data and self.closed is None:
            self.closed = 1006
        for event in self.socket.receive(data):
            if isinstance(event, Closed):
                self.closed = event.code
            else:
                self._take(event)
        self.flush()

    async def until_closed(self) -> int:
        """Return the code with which the server closed."""
        while self.closed is None:
            await self.step()
        return self.closed

    async def until_data(self, channel: int, count: int) -> bytes:
        """Return a channel's bytes once there are so many."""
        while len(self.channels.get(channel, b"")) < count and self.closed is None:
            await self.step()
        return self.channels.get(channel, b"")

    def _take(self, piece: Piece) -> None:
        self.messages.append(piece.data)
        for told in self.codec.feed(piece):
            if isinstance(told, ChannelData):
                self.channels[told.channel] = self.channels.get(told.channel, b"") + told.data


def websocket_headers(*protocols: str) -> list[tuple[str, str]]:
    """Return the headers of a handshake."""
    headers = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
    ]
    return [*headers, *([("Sec-WebSocket-Protocol", ", ".join(protocols))] if protocols else [])]


@asynccontextmanager
async def websocket_client(
    url: str,
    protocol: str,
    known: Mapping[str, Protocol] = COMMAND_WEBSOCKET,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[WebSocketClient]:
    """Make a WebSocket for the block."""
    async with connected(url, tls) as raw:
        offered = [protocol] if protocol else []
        answer = await raw.request("GET", path(url), websocket_headers(*offered))
        assert answer.status == 101, answer
        assert answer.headers.get("sec-websocket-protocol", []) == offered
        yield WebSocketClient(raw, known[protocol])


@dataclass(slots=True)
class Command:
    """What a finished command has said."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: dict[str, object] = field(default_factory=dict)


async def spdy_command(
    client: SpdyClient, kinds: Sequence[str], stdin: bytes | None = None
) -> Command:
    """Open the streams of a v4 command, send its input, and return what it said."""
    numbers = {kind: await client.open({"streamtype": kind}) for kind in ("error", *kinds)}
    if stdin is not None:
        await client.send(numbers["stdin"], stdin)
        client.finish(numbers["stdin"])
    result = Command()
    for kind in ("stdout", "stderr"):
        if kind in numbers:
            setattr(result, kind, (await client.until_over(numbers[kind])).data)
    result.status = json.loads((await client.until_over(numbers["error"])).data)
    return result
