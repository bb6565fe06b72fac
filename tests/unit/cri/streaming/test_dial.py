"""The client's side, against our own server and against what is none."""

import asyncio

import pytest

from cri.streaming.dial import COMMAND, FORWARD, dialled, everything, opened
from cri.streaming.status import Outcome
from store.errors import UnavailableError
from tests import programs
from tests.streaming import path
from tests.unit.cri.streaming.conftest import Place


async def test_a_command_with_input_and_its_end(place: Place) -> None:
    sent = bytes(range(256)) * 4000
    async with dialled(place.exec(programs.CAT), COMMAND) as streams, asyncio.TaskGroup() as group:
        running = group.create_task(streams.run())
        error, stdin, stdout, _ = (
            opened(streams, kind) for kind in ("error", "stdin", "stdout", "stderr")
        )
        reading = group.create_task(everything(stdout))
        assert await stdin.write(sent)
        stdin.close()
        assert Outcome.read(await everything(error)) == Outcome()
        running.cancel()
    assert reading.result() == sent


async def test_a_forwarded_port(place: Place) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    async with dialled(place.forward(), FORWARD) as streams, asyncio.TaskGroup() as group:
        running = group.create_task(streams.run())
        headers = {"port": port, "requestid": "0"}
        error, data = (opened(streams, kind, headers) for kind in ("error", "data"))
        assert await data.write(b"there and back")
        data.close()
        assert await everything(data) == b"there and back"
        assert await everything(error) == b""
        running.cancel()
    server.close()


async def refused(url: str) -> str:
    with pytest.raises(UnavailableError) as raised:
        async with dialled(url, COMMAND):
            pass
    assert path(url) not in str(raised.value), "the secret is told"
    return str(raised.value)


async def test_who_does_not_want_to_says_why(place: Place) -> None:
    url = place.exec(programs.SPEAK)
    wrong = url.replace("/exec/", "/attach/")
    server = url.removesuffix(path(url))
    assert await refused(wrong) == f"cannot open a session at {server}: it answers 404 Not Found"


async def test_nobody_there() -> None:
    said = await refused("http://127.0.0.1:1/exec/secret")
    assert said.startswith("cannot open a session at http://127.0.0.1:1: ")


@pytest.mark.parametrize("says", [b"", b"220 mail.example.org\r\n\r\n"])
async def test_what_is_no_such_server(says: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        assert await refused(f"http://{host}:{port}/exec/secret")
