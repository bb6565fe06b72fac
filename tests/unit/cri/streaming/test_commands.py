"""Exec and attach from end to end: every transport and version."""

import asyncio
import json

import pytest

from cri.streaming import spdy
from runtime.io import Wanted
from tests import programs
from tests.streaming import (
    Stream,
    spdy_client,
    spdy_command,
    websocket_client,
)
from tests.unit.cri.streaming.conftest import Place

V4 = "v4.channel.k8s.io"
TERMINAL = Wanted(stdin=True, stdout=True, terminal=True)
OUTPUT = Wanted(stdout=True, stderr=True)
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
STRUCTURED = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"]
PLAIN = ["channel.k8s.io", "base64.channel.k8s.io", ""]


async def test_success_over_spdy(place: Place) -> None:
    async with spdy_client(place.exec(programs.SPEAK, OUTPUT), "v5.channel.k8s.io", V4) as client:
        command = await spdy_command(client, ["stdout", "stderr"])
    assert (command.stdout, command.stderr) == (b"out\n", b"err\n")
    assert command.status == {"metadata": {}, "status": "Success"}


async def test_an_exit_code_over_spdy(place: Place) -> None:
    async with spdy_client(place.exec(programs.FAIL, OUTPUT), V4) as client:
        command = await spdy_command(client, ["stdout", "stderr"])
    assert command.status == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: 5",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "5"}]},
    }


async def test_a_program_that_is_not_there_over_spdy(place: Place) -> None:
    async with spdy_client(place.exec(programs.MISSING, OUTPUT), V4) as client:
        command = await spdy_command(client, ["stdout", "stderr"])
    assert command.status["reason"] == "InternalError"
    assert command.status["code"] == 500
    assert "/nosuch" in str(command.status["message"])


async def test_input_and_its_end_over_spdy(place: Place) -> None:
    sent = bytes(range(256)) * 4000
    async with spdy_client(place.exec(programs.CAT), V4) as client:
        async with asyncio.timeout(20):
            command = await spdy_command(client, ["stdin", "stdout", "stderr"], sent)
    assert command.stdout == sent
    assert command.status["status"] == "Success"


@pytest.mark.parametrize("version", ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"])
@pytest.mark.parametrize(
    ("argv", "said"),
    [(programs.SPEAK, b""), (programs.FAIL, b"command terminated with non-zero exit code: 5")],
)
async def test_older_versions_say_failures_as_text(
    place: Place, version: str, argv: tuple[str, ...], said: bytes
) -> None:
    async with spdy_client(place.exec(argv, OUTPUT), version) as client:
        error = await client.open({"streamtype": "error"})
        await client.open({"streamtype": "stdout"})
        await client.open({"streamtype": "stderr"})
        assert (await client.until_over(error)).data == said


@pytest.mark.parametrize("version", [V4, "v3.channel.k8s.io"])
async def test_a_terminal_over_spdy(place: Place, version: str) -> None:
    async with spdy_client(place.exec(programs.MEASURE, TERMINAL), version) as client:
        numbers = {
            kind: await client.open({"streamtype": kind})
            for kind in ("error", "stdin", "stdout", "resize")
        }
        for width in range(1, 500):
            await client.send(numbers["resize"], b'{"Width":%d,"Height":43}' % width)
        await client.send(numbers["resize"], b'{"Width":132,')
        await asyncio.sleep(0.01)
        await client.send(numbers["resize"], b'"Height":43}')
        await asyncio.sleep(0.05)
        await client.send(numbers["stdin"], b"go\n")
        assert b"43 132" in (await client.until_over(numbers["stdout"])).data
        assert (await client.until_over(numbers["error"])).finished


async def test_garbage_for_sizes_disturbs_nobody(place: Place) -> None:
    async with spdy_client(place.exec(programs.MEASURE, TERMINAL), V4) as client:
        numbers = {
            kind: await client.open({"streamtype": kind})
            for kind in ("error", "stdin", "stdout", "resize")
        }
        await client.send(numbers["resize"], b"[" * 10_000)
        await client.send(numbers["stdin"], b"go\n")
        status = (await client.until_over(numbers["error"])).data
        assert json.loads(status)["details"]["causes"][0]["message"] == "4"


async def test_the_client_is_left_to_close_first(place: Place) -> None:
    async with spdy_client(place.exec(programs.SPEAK, OUTPUT), V4) as client:
        await spdy_command(client, ["stdout", "stderr"])
        asked = client.codec.ping()
        client.flush()
        told: list[spdy.Event] = []
        while spdy.Ponged(asked) not in told:
            data = await client.raw.reader.read(1 << 16)
            assert data, "the server has closed while its client still speaks"
            told += client.codec.receive(data)


async def test_streams_nobody_asked_for_are_refused(place: Place) -> None:
    async with spdy_client(place.exec(programs.SPEAK, Wanted(stdout=True)), V4) as client:
        await client.open({"streamtype": "error"})
        for kind in ("stderr", "error", "nonsense"):
            number = await client.open({"streamtype": kind})
            assert client.streams[number].reset
        stdout = await client.open({"streamtype": "stdout"})
        assert (await client.until_over(stdout)).data == b"out\n"


async def test_a_client_that_opens_too_few_streams_is_left(place: Place) -> None:
    async with spdy_client(place.exec(programs.SPEAK), V4) as client, asyncio.timeout(5):
        await client.open({"streamtype": "error"})
        while not client.gone:
            await client.step()
    await place.sessions.until_running(0)


@pytest.mark.parametrize("protocol", STRUCTURED)
async def test_websockets_with_a_status(place: Place, protocol: str) -> None:
    async with websocket_client(place.exec(programs.FAIL, OUTPUT), protocol) as client:
        assert await client.until_closed() == 1000
        assert client.messages[0] in (bytes([STDOUT]), b"1")  # empty: the sign of being connected
        status = json.loads(client.channels[ERROR])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]


@pytest.mark.parametrize("protocol", PLAIN)
async def test_websockets_with_text(place: Place, protocol: str) -> None:
    async with websocket_client(place.exec(programs.FAIL, OUTPUT), protocol) as client:
        assert await client.until_closed() == 1000
        assert client.channels == {ERROR: b"command terminated with non-zero exit code: 5"}


@pytest.mark.parametrize("protocol", [*STRUCTURED, *PLAIN])
async def test_output_over_websockets(place: Place, protocol: str) -> None:
    async with websocket_client(place.exec(programs.FLOOD, OUTPUT), protocol) as client:
        assert await client.until_closed() == 1000
        assert len(client.channels[STDOUT]) == programs.FLOOD_BYTES


async def test_version_5_can_end_its_input(place: Place) -> None:
    async with websocket_client(place.exec(programs.CAT), "v5.channel.k8s.io") as client:
        client.send(STDIN, b"all of it")
        client.end(STDIN)
        assert await client.until_closed() == 1000
        assert client.channels[STDOUT] == b"all of it"
        assert json.loads(client.channels[ERROR])["status"] == "Success"


@pytest.mark.parametrize("protocol", STRUCTURED)
async def test_a_terminal_over_websockets(place: Place, protocol: str) -> None:
    async with websocket_client(place.exec(programs.MEASURE, TERMINAL), protocol) as client:
        client.send(RESIZE, b'{"Width":132,"Height":43}')
        await client.until_data(STDOUT, 0)
        await asyncio.sleep(0.05)
        client.send(STDIN, b"go\n")
        assert await client.until_closed() == 1000
        assert b"43 132" in client.channels[STDOUT]


async def test_what_is_sent_on_other_channels_is_dropped(place: Place) -> None:
    async with websocket_client(place.exec(programs.CAT), "v5.channel.k8s.io") as client:
        client.send(STDOUT, b"not for you")
        client.send(200, b"nor you")
        client.send(STDIN, b"for cat")
        client.end(STDIN)
        assert await client.until_closed() == 1000
        assert client.channels[STDOUT] == b"for cat"


async def test_closing_a_channel_there_is_not_breaks_the_protocol(place: Place) -> None:
    async with websocket_client(place.exec(programs.CAT), "v5.channel.k8s.io") as client:
        client.end(77)
        assert await client.until_closed() == 1002


async def test_attach_sees_only_what_comes(place: Place) -> None:
    async with spdy_client(place.attach(), V4) as client:
        numbers = {
            kind: await client.open({"streamtype": kind})
            for kind in ("error", "stdin", "stdout", "stderr")
        }
        await client.send(numbers["stdin"], b"hello\n")
        assert await client.until_data(numbers["stdout"], 10) == b"got hello\n"
        assert await client.until_data(numbers["stderr"], 10) == b"err hello\n"
        place.sessions.stop("a")
        assert (await client.until_over(numbers["stdout"])).finished
        status = (await client.until_over(numbers["error"])).data
        assert json.loads(status)["status"] == "Success"


async def test_attach_must_fit_the_containers_terminal(place: Place) -> None:
    async with spdy_client(place.attach(wanted=TERMINAL), V4) as client:
        error = await client.open({"streamtype": "error"})
        for kind in ("stdin", "stdout", "resize"):
            await client.open({"streamtype": kind})
        status = json.loads((await client.until_over(error)).data)
        assert "tty" in status["message"]


@pytest.mark.parametrize("vanish", ["abort", "end"])
async def test_a_client_that_vanishes_takes_its_program_along(place: Place, vanish: str) -> None:
    async with spdy_client(place.exec(programs.HANG), V4) as client, asyncio.timeout(5):
        for kind in ("error", "stdin", "stdout", "stderr"):
            await client.open({"streamtype": kind})
        await place.sessions.until_running(1)
        if vanish == "abort":
            client.raw.writer.transport.abort()
        else:
            client.raw.writer.write_eof()
        await place.sessions.until_running(0)


@pytest.mark.parametrize("megabytes", [0.5, 1, 4])
async def test_a_client_that_vanishes_behind_unread_input_takes_its_program_along(
    place: Place, megabytes: float
) -> None:
    """With enough of it nothing is read any more, and nothing but the hang-up tells."""
    async with spdy_client(place.exec(programs.HANG), V4) as client, asyncio.timeout(10):
        numbers = {
            kind: await client.open({"streamtype": kind})
            for kind in ("error", "stdin", "stdout", "stderr")
        }
        for _ in range(int(megabytes * 4)):
            await client.send(numbers["stdin"], bytes(1 << 18))
        await client.raw.writer.drain()
        await asyncio.sleep(0.1)
        client.raw.writer.close()
        await place.sessions.until_running(0)


async def test_a_client_that_does_not_read_stops_only_its_own_program(place: Place) -> None:
    async with spdy_client(place.exec(programs.SHOUT), V4) as stuck:
        for kind in ("error", "stdin", "stdout", "stderr"):
            await stuck.open({"streamtype": kind})
        async with spdy_client(place.exec(programs.SPEAK, OUTPUT), V4) as client:
            async with asyncio.timeout(10):
                command = await spdy_command(client, ["stdout", "stderr"])
        assert command.stdout == b"out\n"
        await place.sessions.until_running(1)


async def test_a_slow_client_gets_the_last_byte(place: Place) -> None:
    """The program ends long before its client has read, and nothing is cut off."""
    async with spdy_client(place.exec(programs.FLOOD, OUTPUT), V4) as client:
        numbers = [await client.open({"streamtype": kind}) for kind in ("error", "stderr")]
        numbers.append(client.codec.open({"streamtype": "stdout"}))
        client.streams[numbers[-1]] = Stream()
        client.flush()
        await place.sessions.until_running(1)
        await place.sessions.until_running(0)
        await asyncio.sleep(0.2)
        assert len((await client.until_over(numbers[-1])).data) == programs.FLOOD_BYTES
        assert json.loads((await client.until_over(numbers[0])).data)["status"] == "Success"


async def test_pings_are_answered_during_a_session(place: Place) -> None:
    async with spdy_client(place.exec(programs.HANG), V4) as client, asyncio.timeout(5):
        number = client.codec.ping()
        client.flush()
        answered = False
        while not answered:
            data = await client.raw.reader.read(1000)
            answered = any(getattr(event, "number", 0) == number
                           for event in client.codec.receive(data))  # fmt: skip
