"""Port-forward: connections into a pod, any number at the same time, each by itself."""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cri.streaming import PortForwardRequest
from cri.streaming.channel_streams import Channel, ChannelStreams
from cri.streaming.links import Link
from cri.streaming.spdy_frames import Status
from cri.streaming.spdy_streams import SpdyStream, SpdyStreams
from runtime.io import Connection, Ports
from runtime.io.copying import copy
from store.errors import Error

_ERROR: Final = "error"
_DATA: Final = "data"
_MOST: Final = 0xFFFF


@dataclass(slots=True, eq=False)
class _Pair:
    """The two streams of one connection; `due` runs out if the second one does not come."""

    key: str
    port: int = 0
    error: SpdyStream | None = None
    data: SpdyStream | None = None
    due: asyncio.TimerHandle | None = None


class SpdyForwarder:
    """Forwards the pairs of streams that one SPDY client opens.

    Args:
        creation: seconds within which the second stream of a pair must come.
    """

    def __init__(
        self, request: PortForwardRequest, ports: Ports, *, creation: float, limit: int
    ) -> None:
        self._request = request
        self._ports = ports
        self._creation = creation
        self._limit = limit
        self._pairs: dict[str, _Pair] = {}
        self._complete: asyncio.Queue[_Pair] = asyncio.Queue()

    def streams(self, link: Link) -> SpdyStreams:
        """Return the connection's streams."""
        self._streams = SpdyStreams(link, self._opened, limit=self._limit)
        return self._streams

    async def serve(self) -> None:
        """Forward until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    pair = await self._complete.get()
                    group.create_task(self._forward(pair))
        finally:
            for pair in self._pairs.values():
                _cancel(pair)

    def _opened(self, stream: SpdyStream) -> None:
        port = _port(stream.headers.get("port", ""))
        kind = stream.headers.get("streamtype")
        if port is None or kind not in (_ERROR, _DATA):
            stream.reset(Status.PROTOCOL_ERROR)
            self._streams.forget(stream)
            return
        key = stream.headers.get("requestid") or _derived(stream, kind)
        pair = self._pairs.get(key) or self._begin(_Pair(key))
        if getattr(pair, kind) is not None:
            stream.reset(Status.STREAM_IN_USE)
            self._streams.forget(stream)
            return
        self._streams.accept(stream)
        setattr(pair, kind, stream)
        pair.port = port if kind == _DATA else pair.port
        if pair.error is not None and pair.data is not None:
            _cancel(self._pairs.pop(key))
            self._complete.put_nowait(pair)

    def _begin(self, pair: _Pair) -> _Pair:
        self._pairs[pair.key] = pair
        pair.due = asyncio.get_running_loop().call_later(self._creation, self._late, pair)
        return pair

    def _late(self, pair: _Pair) -> None:
        self._pairs.pop(pair.key, None)
        for stream in (pair.error, pair.data):
            if stream is not None:
                stream.reset()
                self._streams.forget(stream)

    async def _forward(self, pair: _Pair) -> None:
        error, data = pair.error, pair.data
        if error is None or data is None:
            return
        try:
            await self._connected(pair.port, data)
        except Error as why:
            text = f"error forwarding port {pair.port}: {why}"
            await error.write(text.encode())
            error.close()
            data.reset()
        finally:
            self._streams.forget(data)
            self._streams.forget(error)

    async def _connected(self, port: int, data: SpdyStream) -> None:
        request = self._request
        async with self._ports.connect(request.namespace, request.sandbox_id, port) as connection:
            await _both_ways(data, connection)


async def _both_ways(data: SpdyStream, connection: Connection) -> None:
    """Copy in both directions until both have ended, or the client has broken it off."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(copy(data, connection)),
            group.create_task(copy(connection, data)),
        ]

        def break_off() -> None:
            if not all(task.done() for task in tasks):
                connection.abort()
            for task in tasks:
                task.cancel()

        data.when_over(break_off)


async def serve_channels(
    streams: ChannelStreams, request: PortForwardRequest, ports: Ports
) -> None:
    """Forward each port of the request on its two channels, until all have ended."""
    async with asyncio.TaskGroup() as group:
        for index, port in enumerate(request.ports):
            pair = streams[2 * index], streams[2 * index + 1]
            group.create_task(_serve_port(pair, port, request, ports))


async def _serve_port(
    pair: Sequence[Channel], port: int, request: PortForwardRequest, ports: Ports
) -> None:
    data, error = pair
    number = struct.pack("<H", port)
    if not (await data.write(number) and await error.write(number)):
        return
    try:
        async with (
            ports.connect(request.namespace, request.sandbox_id, port) as connection,
            asyncio.TaskGroup() as group,
        ):
            sending = group.create_task(copy(data, connection))
            await copy(connection, data)
            sending.cancel()
    except Error as why:
        await error.write(f"error forwarding port {port}: {why}".encode())


def _port(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > 5:
        return None
    return int(text) if 0 < int(text) <= _MOST else None


def _derived(stream: SpdyStream, kind: str) -> str:
    """Name a pair whose client does not: it opens the error stream first, then the data stream."""
    return f"stream {stream.number if kind == _ERROR else stream.number - 2}"


def _cancel(pair: _Pair) -> None:
    if pair.due is not None:
        pair.due.cancel()
