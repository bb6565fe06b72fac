"""Hostile and careless clients of the streaming server (hostile input 21 and its kin).

Whatever they do, others stay served, and what they held is free when they are gone.
"""

import asyncio
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cri.streaming import PortForwardRequest, Settings
from cri.streaming.server import StreamingServer
from runtime.io import AttachRequest, ExecRequest, Wanted
from runtime.io.ports import PodPorts
from runtime.operations import Operations
from tests import programs
from tests.fakes.sessions import FakeSessions
from tests.leaks import kept, settled
from tests.streaming import Raw, connected, spdy_client, spdy_command

V4 = "v4.channel.k8s.io"
FORWARD = "portforward.k8s.io"
OUTPUT = Wanted(stdout=True, stderr=True)
ALL = Wanted(stdin=True, stdout=True, stderr=True)
TERMINAL = Wanted(stdin=True, stdout=True, terminal=True)
SETTINGS = Settings(request=2.0, creation=5.0)


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Allow as many descriptors as a daemon has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass(frozen=True, slots=True)
class Place:
    server: StreamingServer
    sessions: FakeSessions

    def exec(self, argv: tuple[str, ...], wanted: Wanted = ALL) -> str:
        return self.server.url(
            ExecRequest(namespace="test", container_id="a", argv=argv, wanted=wanted)
        )

    def attach(self) -> str:
        return self.server.url(AttachRequest(namespace="test", container_id="a", wanted=ALL))

    def forward(self) -> str:
        return self.server.url(PortForwardRequest(namespace="test", sandbox_id="pod"))

    async def serves(self) -> None:
        """Fail unless an ordinary client is served, and soon."""
        async with asyncio.timeout(10), spdy_client(self.exec(programs.SPEAK, OUTPUT), V4) as one:
            assert (await spdy_command(one, ["stdout", "stderr"])).stdout == b"out\n"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    ports = PodPorts(lambda _namespace, _id: None)
    async with FakeSessions(tmp_path) as sessions:
        await sessions.start("a", programs.ANSWER)
        request = AttachRequest(namespace="test", container_id="a", wanted=ALL)
        async with sessions.attach(request):
            await sessions.until_joined("a")  # that connection stays, one for each container
        async with StreamingServer(SETTINGS, sessions, ports, Operations()) as server:
            made = Place(server, sessions)
            before = kept()
            await made.serves()
            yield made
            assert (await settled(before, 10)).within(before)
            assert sessions.running == 0
            await made.serves()


async def test_clients_that_connect_and_leave(place: Place) -> None:
    for round_ in range(2000):
        async with connected(place.attach() if round_ % 100 == 0 else base(place)) as raw:
            if round_ % 2:
                raw.writer.write(b"GET /exec")
    await place.serves()


def base(place: Place) -> str:
    return place.server._base()


async def test_clients_that_attach_and_leave(place: Place) -> None:
    for round_ in range(500):
        async with spdy_client(place.attach(), V4) as client:
            for kind in ("error", "stdin", "stdout", "stderr")[: round_ % 5]:
                await client.open({"streamtype": kind})
    await place.serves()


async def test_clients_that_exec_and_leave(place: Place) -> None:
    for _ in range(200):
        async with spdy_client(place.exec(programs.HANG), V4) as client:
            for kind in ("error", "stdin", "stdout", "stderr"):
                await client.open({"streamtype": kind})
            await place.sessions.until_running(1)
        await place.sessions.until_running(0)
    await place.serves()


async def test_ten_thousand_idle_connections(place: Place) -> None:
    host, port = place.server._base().removeprefix("http://").split(":")
    idle: list[socket.socket] = []
    try:
        for number in range(10_000):
            one = socket.socket()
            one.setblocking(False)  # noqa: FBT003 - its only parameter
            idle.append(one)
            await asyncio.get_running_loop().sock_connect(one, (host, int(port)))
            if number % 2000 == 1999:
                await place.serves()
        assert len(os.listdir("/proc/self/fd")) < 10_000 + 1000  # noqa: PTH208
    finally:
        for one in idle:
            one.close()


async def test_a_drop_of_a_request_at_a_time(place: Place) -> None:
    """Each would take minutes, but has two seconds."""

    async def drip(raw: Raw) -> None:
        for byte in b"GET /exec/x HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 1000:
            raw.writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
            if raw.reader.at_eof():
                return

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        opened = [connected(base(place)) for _ in range(50)]
        clients = [await one.__aenter__() for one in opened]
        dripping = [group.create_task(drip(raw)) for raw in clients]
        await place.serves()
        for raw in clients:
            assert (await raw.answer()).status == 408
        for task in dripping:
            task.cancel()
    for one in opened:
        await one.__aexit__(None, None, None)


async def test_random_bytes_before_and_after_the_upgrade(place: Place) -> None:
    source = random.Random(21)  # noqa: S311 - the same bytes each time
    for _ in range(100):
        async with connected(base(place)) as raw:
            raw.writer.write(source.randbytes(source.randrange(1, 5000)))
            raw.writer.write_eof()
            await raw.reader.read()
        async with spdy_client(place.exec(programs.HANG), V4) as client:
            client.raw.writer.write(source.randbytes(source.randrange(1, 5000)))
            client.raw.writer.write_eof()
            await client.raw.reader.read()
    await place.serves()


async def test_a_hundred_thousand_sizes(place: Place) -> None:
    async with spdy_client(place.exec(programs.MEASURE, TERMINAL), V4) as client:
        numbers = {
            kind: await client.open({"streamtype": kind})
            for kind in ("error", "stdin", "stdout", "resize")
        }
        batch = b"".join(b'{"Width":%d,"Height":43}' % width for width in range(1, 1001))
        async with asyncio.timeout(60):
            for _ in range(100):
                await client.send(numbers["resize"], batch)
            await client.send(numbers["resize"], b'{"Width":132,"Height":43}')
            await client.send(numbers["stdin"], b"go\n")
            await client.until_over(numbers["stdout"])


async def test_a_thousand_forwards_then_a_reset(place: Place) -> None:
    accepted = 0

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.write(b"x")
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=2000)
    port = str(server.sockets[0].getsockname()[1])
    async with asyncio.timeout(60), spdy_client(place.forward(), FORWARD) as client:
        for number in range(1000):
            for kind in ("error", "data"):
                await client.open({"streamtype": kind, "port": port, "requestid": str(number)})
        while accepted < 1000:
            await client.step()
        client.raw.writer.transport.abort()
    server.close()
    for writer in writers:
        writer.transport.abort()


async def test_a_forward_for_each_of_many_short_connections(place: Place) -> None:
    """One session that lasts keeps nothing of connections that are over."""

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    async with asyncio.timeout(60), spdy_client(place.forward(), FORWARD) as client:
        early = await settled(kept())
        for number in range(1000):
            headers = {"port": port, "requestid": str(number)}
            error = await client.open({**headers, "streamtype": "error"})
            client.finish(error)
            data = await client.open({**headers, "streamtype": "data"})
            assert (await client.until_over(data)).data == b"x"
            client.finish(data)
            await client.until_over(error)
        assert (await settled(early)).within(early)
    server.close()


async def test_more_streams_than_anybody_needs_are_refused(place: Place) -> None:
    async with asyncio.timeout(60), spdy_client(place.forward(), FORWARD) as client:
        for number in range(5000):
            client.codec.open({"streamtype": "data", "port": "1", "requestid": str(number)})
        client.codec.open({"streamtype": "data", "port": "1", "requestid": "last"})
        client.flush()
        refused = 0
        while refused < 5001 - 4096:
            data = await client.raw.reader.read(1 << 16)
            assert data
            refused += sum(getattr(event, "status", 0) == 3 for event in client.codec.receive(data))


async def test_pings_whose_answers_nobody_reads(place: Place) -> None:
    """Answers are not held back, but there is an end to what is kept of them."""
    async with asyncio.timeout(60), spdy_client(place.exec(programs.HANG), V4) as client:
        client.raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            for _ in range(4000):
                for _ in range(1000):
                    client.codec.ping()
                client.flush()
                await client.raw.writer.drain()
        except ConnectionError:
            return
        pytest.fail("it kept the answers to four million pings")


async def test_clients_that_do_not_read(place: Place) -> None:
    opened = [spdy_client(place.exec(programs.SHOUT), V4) for _ in range(20)]
    for one in opened:
        client = await one.__aenter__()
        client.raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for kind in ("error", "stdin", "stdout", "stderr"):
            client.codec.open({"streamtype": kind})
        client.flush()
    await place.sessions.until_running(20)
    await place.serves()
    for one in opened:
        await one.__aexit__(None, None, None)
    await place.sessions.until_running(0)


class TestNoDescriptors:
    async def test_others_are_served_again_when_there_are_some(self, tmp_path: Path) -> None:
        ports = PodPorts(lambda _namespace, _id: None)
        settings = replace(SETTINGS, waiting=100_000)
        async with FakeSessions(tmp_path) as sessions:
            await sessions.start("a", programs.ANSWER)
            async with StreamingServer(settings, sessions, ports, Operations()) as server:
                place = Place(server, sessions)
                await place.serves()
                _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
                opened = [connected(base(place)) for _ in range(300)]
                held = []
                for one in opened:
                    try:
                        await one.__aenter__()
                    except OSError:
                        break
                    held.append(one)
                assert 50 < len(held) < 256
                for one in held:
                    await one.__aexit__(None, None, None)
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                await place.serves()
