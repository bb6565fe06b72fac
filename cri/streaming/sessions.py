"""Sessions over each transport: streams gathered, joined with what the client asked for, ended."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from cri.streaming import PortForwardRequest, Settings
from cri.streaming.channel_streams import ChannelStreams
from cri.streaming.commands import Peer, serve
from cri.streaming.forwarding import SpdyForwarder, serve_channels
from cri.streaming.links import Link
from cri.streaming.negotiation import Agreement, Transport
from cri.streaming.negotiation import Protocol as Agreed
from cri.streaming.spdy_frames import Status
from cri.streaming.spdy_streams import SpdyStream, SpdyStreams
from cri.streaming.tunnel import Tunnel
from runtime.io import Ports, Session, Wanted

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)
_CHANNELS: Final = 5
_COMMAND_STREAMS: Final = 16
_FORWARD_STREAMS: Final = 4096
# How long a client may take to close after everything was said. What it still sends is read and
# thrown away: closing on unread bytes would reset the connection, and it would lose our last ones.
# Half-closing is no better: the kubelet, which is between, then closes the client's connection.
_LINGER: Final = 2.0

_log = logging.getLogger(__name__)


class Streams(Protocol):
    """A connection's streams."""

    async def run(self) -> None:
        """Serve the connection until the peer is gone."""
        ...

    def say_goodbye(self) -> None:
        """Tell the peer that this was all."""
        ...


async def command(
    link: Link,
    agreement: Agreement,
    wanted: Wanted,
    opening: AbstractAsyncContextManager[Session],
    settings: Settings,
) -> None:
    """Exec or attach over one connection, to its end."""
    if agreement.transport is Transport.SPDY:
        await _spdy_command(link, agreement.protocol, wanted, opening, settings)
    else:
        await _channel_command(link, agreement.protocol, wanted, opening)


async def forward(
    link: Link, agreement: Agreement, request: PortForwardRequest, ports: Ports, settings: Settings
) -> None:
    """Forward ports over one connection, to its end."""
    if agreement.transport is Transport.WEBSOCKET:
        readable = range(0, 2 * len(request.ports), 2)
        channels = ChannelStreams(
            link, agreement.protocol, readable=readable, count=2 * len(request.ports)
        )
        await conduct(link, channels, serve_channels(channels, request, ports))
        return
    link = Tunnel(link) if agreement.transport is Transport.TUNNEL else link
    forwarder = SpdyForwarder(request, ports, creation=settings.creation, limit=_FORWARD_STREAMS)
    await conduct(link, forwarder.streams(link), forwarder.serve())


async def conduct(link: Link, streams: Streams, session: Coroutine[None, None, None]) -> None:
    """Run a session for as long as its peer is there, then end what is left of either."""
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(session)
        running = group.create_task(streams.run())
        await asyncio.wait((serving, running), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            streams.say_goodbye()
            await _leave(running, link)
        serving.cancel()
        running.cancel()


async def _leave(running: asyncio.Task[None], link: Link) -> None:
    """Wait until the peer has closed, or has had everything for a while."""
    while not running.done():
        await asyncio.wait((running,), timeout=_LINGER)
        if not link.unsent:
            return


async def _spdy_command(
    link: Link,
    protocol: Agreed,
    wanted: Wanted,
    opening: AbstractAsyncContextManager[Session],
    settings: Settings,
) -> None:
    gathering = _Gathering(_kinds(wanted, protocol))
    streams = SpdyStreams(link, gathering.opened, limit=_COMMAND_STREAMS)
    gathering.streams = streams

    async def session() -> None:
        found = await gathering.complete(settings.creation)
        if found is None:
            _log.debug("streaming: a client has not opened the streams it asked for")
            return
        peer = Peer(
            error=found["error"],
            structured=protocol.structured,
            stdin=found.get("stdin"),
            stdout=found.get("stdout"),
            stderr=found.get("stderr"),
            sizes=found.get("resize"),
        )
        await serve(peer, opening)

    await conduct(link, streams, session())


def _kinds(wanted: Wanted, protocol: Agreed) -> set[str]:
    asked = {
        "error": True,
        "stdin": wanted.stdin,
        "stdout": wanted.stdout,
        "stderr": wanted.stderr,
        "resize": wanted.terminal and protocol.resize,
    }
    return {kind for kind, is_asked in asked.items() if is_asked}


class _Gathering:
    """Waits until a client has opened every stream that is expected of it."""

    def __init__(self, expected: Collection[str]) -> None:
        self._expected = frozenset(expected)
        self._found: dict[str, SpdyStream] = {}
        self._complete = asyncio.Event()
        self.streams: SpdyStreams

    def opened(self, stream: SpdyStream) -> None:
        """Take a stream, or turn it away."""
        kind = stream.headers.get("streamtype", "")
        if kind not in self._expected or kind in self._found:
            stream.reset(Status.REFUSED_STREAM)
            self.streams.forget(stream)
            return
        self._found[kind] = stream
        self.streams.accept(stream)
        if len(self._found) == len(self._expected):
            self._complete.set()

    async def complete(self, seconds: float) -> dict[str, SpdyStream] | None:
        """Return the streams by kind; None if some did not come in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._complete.wait()
        except TimeoutError:
            return None
        return self._found


async def _channel_command(
    link: Link,
    protocol: Agreed,
    wanted: Wanted,
    opening: AbstractAsyncContextManager[Session],
) -> None:
    readable = {_RESIZE, *((_STDIN,) if wanted.stdin else ())}
    channels = ChannelStreams(link, protocol, readable=readable, count=_CHANNELS)
    # Clients take this as the sign that they are connected.
    channels.send(_STDOUT if wanted.stdout else _STDERR if wanted.stderr else _ERROR, b"")
    peer = Peer(
        error=channels[_ERROR],
        structured=protocol.structured,
        stdin=channels[_STDIN] if wanted.stdin else None,
        stdout=channels[_STDOUT] if wanted.stdout else None,
        stderr=channels[_STDERR] if wanted.stderr else None,
        sizes=channels[_RESIZE] if wanted.terminal else None,
    )
    await conduct(link, channels, serve(peer, opening))
