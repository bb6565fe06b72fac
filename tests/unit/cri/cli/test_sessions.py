import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri.cli.sessions import converse, forward
from cri.streaming import PortForwardRequest, Settings
from cri.streaming.server import StreamingServer
from runtime.io import ExecRequest, Wanted
from runtime.io.ports import PodPorts
from runtime.operations import Operations
from store.errors import Error, UnavailableError
from tests import programs
from tests.fakes.sessions import FakeSessions
from tests.leaks import nothing_kept

OUTPUT = Wanted(stdout=True, stderr=True)
Output = pytest.CaptureFixture[bytes]


@dataclass(frozen=True, slots=True)
class Place:
    server: StreamingServer

    def exec(self, argv: tuple[str, ...]) -> str:
        request = ExecRequest(namespace="test", container_id="a", argv=argv, wanted=OUTPUT)
        return self.server.url(request)

    async def forward(self) -> str:
        return self.server.url(PortForwardRequest(namespace="test", sandbox_id="pod"))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    ports = PodPorts(lambda _namespace, _id: None)
    async with nothing_kept(), FakeSessions(tmp_path) as sessions:
        await sessions.start("a", programs.ANSWER)
        async with StreamingServer(Settings(), sessions, ports, Operations()) as server:
            yield Place(server)


async def test_output_goes_where_it_belongs(place: Place, capfdbinary: Output) -> None:
    assert await converse(place.exec(programs.SPEAK), OUTPUT) == 0
    assert capfdbinary.readouterr() == (b"out\n", b"err\n")


async def test_the_programs_exit_code_is_the_commands(place: Place) -> None:
    assert await converse(place.exec(programs.FAIL), OUTPUT) == 5


async def test_much_output_is_whole(place: Place, capfdbinary: Output) -> None:
    assert await converse(place.exec(programs.FLOOD), OUTPUT) == 0
    assert len(capfdbinary.readouterr().out) == programs.FLOOD_BYTES


async def test_a_program_that_is_not_there_is_an_error(place: Place) -> None:
    with pytest.raises(Error, match="/nosuch"):
        await converse(place.exec(programs.MISSING), OUTPUT)


async def test_a_session_that_breaks_off_is_an_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(UnavailableError, match="broke off"):
            await converse(f"http://{host}:{port}/exec/x", OUTPUT)


async def test_output_that_nobody_reads_ends_the_session(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    file = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", file)
    with pytest.raises(BrokenPipeError):
        await converse(place.exec(programs.SHOUT), OUTPUT)
    with pytest.raises(BrokenPipeError):
        file.close()


async def test_ports_are_forwarded_until_the_end(place: Place, capfdbinary: Output) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.read())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        there = server.sockets[0].getsockname()[1]
        good, bad = asyncio.Queue[int](), asyncio.Queue[int]()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(forward(0, there, place.forward, good.put_nowait)),
                group.create_task(forward(0, 1, place.forward, bad.put_nowait)),
            ]
            local = await good.get()
            answers = [group.create_task(asked(local, b"%d" % number)) for number in range(5)]
            assert [await each for each in answers] == [b"got %d" % each for each in range(5)]
            assert await asked(await bad.get(), b"x") == b""
            with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{local}"):
                await forward(local, there, place.forward, good.put_nowait)
            for task in tasks:
                task.cancel()
    assert b"Connection refused" in capfdbinary.readouterr().err


async def asked(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer
