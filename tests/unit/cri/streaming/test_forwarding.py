"""Port-forward from end to end: SPDY, SPDY in WebSocket, plain WebSocket."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cri.streaming import spdy
from cri.streaming.negotiation import FORWARD_WEBSOCKET, TUNNELS
from cri.streaming.spdy_frames import Status
from tests.streaming import SpdyClient, Stream, spdy_client, websocket_client
from tests.unit.cri.streaming.conftest import Place

PROTOCOL = "portforward.k8s.io"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, then the end."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, hear the question, answer, and close."""
    writer.write(b"hello\n")
    question = await reader.readline()
    writer.write(b"you said " + question)
    writer.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Serve on a port of loopback for the block."""
    async with asyncio.TaskGroup() as group:
        tasks = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def one() -> None:
                try:
                    await serve(reader, writer)
                except ConnectionError:
                    return
                finally:
                    writer.transport.abort()

            tasks.append(group.create_task(one()))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in tasks:
            task.cancel()


async def pair(client: SpdyClient, port: int, key: str) -> tuple[int, int]:
    """Open the two streams of a connection; return those for data and for errors."""
    headers = {"port": str(port), "requestid": key}
    error = await client.open({**headers, "streamtype": "error"})
    client.finish(error)
    return await client.open({**headers, "streamtype": "data"}), error


async def test_a_connection_each_way_and_its_end(place: Place) -> None:
    async with serving(echo) as port, spdy_client(place.forward(), PROTOCOL) as client:
        data, error = await pair(client, port, "0")
        sent = bytes(range(256)) * 8000
        async with asyncio.timeout(20):
            await client.send(data, sent)
            client.finish(data)
            assert (await client.until_over(data)).data == sent
            assert (await client.until_over(error)).data == b""


async def test_many_connections_do_not_mix(place: Place) -> None:
    async with serving(greet) as port, spdy_client(place.forward(), PROTOCOL) as client:
        pairs = [await pair(client, port, str(number)) for number in range(50)]
        for number, (data, _) in enumerate(pairs):
            await client.send(data, b"%d\n" % number)
        for number, (data, _) in enumerate(pairs):
            assert (await client.until_over(data)).data == b"hello\nyou said %d\n" % number


async def test_without_request_ids_pairs_are_told_by_their_numbers(place: Place) -> None:
    async with serving(greet) as port, spdy_client(place.forward(), PROTOCOL) as client:
        for _ in range(3):
            await client.open({"port": str(port), "streamtype": "error"})
            data = await client.open({"port": str(port), "streamtype": "data"})
            await client.send(data, b"x\n")
            assert (await client.until_over(data)).data == b"hello\nyou said x\n"


async def test_a_port_nobody_listens_on_is_told_on_its_error_stream(place: Place) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        async with spdy_client(place.forward(), PROTOCOL) as client:
            data, error = await pair(client, port, "0")
            said = (await client.until_over(error)).data.decode()
            assert said.startswith(f"error forwarding port {port}: cannot connect")
            assert "refused" in said
            assert (await client.until_over(data)).reset == Status.CANCEL
            async with serving(greet) as other:  # the session goes on
                data, _ = await pair(client, other, "1")
                assert await client.until_data(data, 6) == b"hello\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "8O"},
        {"streamtype": "data", "port": "-1"},
        {"streamtype": "stdin", "port": "80"},
        {"port": "80"},
    ],
)
async def test_streams_that_make_no_sense_are_reset(place: Place, headers: dict[str, str]) -> None:
    async with spdy_client(place.forward(), PROTOCOL) as client:
        number = await client.open(headers)
        assert client.streams[number].reset == Status.PROTOCOL_ERROR


async def test_the_second_stream_of_a_kind_is_reset(place: Place) -> None:
    async with spdy_client(place.forward(), PROTOCOL) as client:
        headers = {"streamtype": "error", "port": "80", "requestid": "7"}
        await client.open(headers)
        second = await client.open(headers)
        assert client.streams[second].reset == Status.STREAM_IN_USE


async def test_half_a_pair_is_reset_in_time(place: Place) -> None:
    async with spdy_client(place.forward(), PROTOCOL) as client, asyncio.timeout(5):
        number = await client.open({"streamtype": "data", "port": "80", "requestid": "7"})
        assert (await client.until_over(number)).reset == Status.CANCEL


async def test_a_reset_by_the_client_breaks_the_connection_off(place: Place) -> None:
    broken = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        try:
            await reader.read()
        except ConnectionResetError:
            broken.set()

    async with serving(hear) as port, spdy_client(place.forward(), PROTOCOL) as client:
        data, _ = await pair(client, port, "0")
        await client.until_data(data, 1)
        client.codec.reset(data)
        client.flush()
        async with asyncio.timeout(5):
            await broken.wait()


async def test_a_client_that_vanishes_breaks_all_its_connections_off(place: Place) -> None:
    ended = asyncio.Queue[None]()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        try:
            await reader.read()
        except ConnectionResetError:
            ended.put_nowait(None)

    async with serving(hear) as port:
        async with spdy_client(place.forward(), PROTOCOL) as client:
            for number in range(20):
                data, _ = await pair(client, port, str(number))
                await client.until_data(data, 1)
        async with asyncio.timeout(5):
            for _ in range(20):
                await ended.get()


async def test_a_slow_pod_does_not_lose_what_is_sent(place: Place) -> None:
    received = asyncio.Queue[int]()

    async def slow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        received.put_nowait(len(await reader.read()))

    async with serving(slow) as port, spdy_client(place.forward(), PROTOCOL) as client:
        data, _ = await pair(client, port, "0")
        async with asyncio.timeout(20):
            await client.send(data, bytes(8 << 20))
            client.finish(data)
            assert await received.get() == 8 << 20


async def test_spdy_in_a_websocket(place: Place) -> None:
    """What `kubectl port-forward` speaks: each message is a piece of a SPDY connection."""
    protocol = "SPDY/3.1+portforward.k8s.io"
    async with (
        serving(greet) as port,
        websocket_client(place.forward(), protocol, TUNNELS) as client,
        asyncio.timeout(10),
    ):
        codec = spdy.Spdy(server=False)
        error = codec.open({"streamtype": "error", "port": str(port), "requestid": "0"})
        data = codec.open({"streamtype": "data", "port": str(port), "requestid": "0"})
        codec.finish(error)
        codec.send(data, b"x\n")
        sent = codec.take()
        for start in range(0, len(sent), 7):
            client.socket.send(sent[start : start + 7])
        client.flush()
        stream = Stream()
        while not stream.finished:
            await client.step()
            for event in codec.receive(b"".join(client.messages)):
                if isinstance(event, spdy.Data):
                    stream.data += event.data
                stream.finished = stream.finished or event == spdy.Finished(data)
            client.messages.clear()
        assert stream.data == b"hello\nyou said x\n"
        client.socket.close()
        client.flush()
        assert await client.until_closed() == 1000


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""])
async def test_plain_websockets(place: Place, protocol: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        closed = held.getsockname()[1]
        async with serving(greet) as port:
            url = place.forward(port, closed)
            async with websocket_client(url, protocol, FORWARD_WEBSOCKET) as client:
                client.send(0, b"x\n")
                assert await client.until_closed() == 1000
    number = struct.pack("<H", port)
    assert client.channels[0] == number + b"hello\nyou said x\n"
    assert client.channels[1] == number
    other = struct.pack("<H", closed)
    assert client.channels[2] == other
    assert client.channels[3].startswith(other + f"error forwarding port {closed}".encode())


async def test_a_websocket_that_breaks_the_protocol_is_closed(place: Place) -> None:
    protocol = "SPDY/3.1+portforward.k8s.io"
    async with websocket_client(place.forward(), protocol, TUNNELS) as client:
        client.socket.send(b"no SPDY at all")
        client.flush()
        assert await client.until_closed() in (1000, 1002)
