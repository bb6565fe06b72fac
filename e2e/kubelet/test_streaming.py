"""Commands in containers, containers' own streams, and pods' ports, over every transport."""

import asyncio
import json
import struct

import pytest

from cri.streaming.negotiation import FORWARD_WEBSOCKET
from e2e.images import BUSYBOX, REDIS
from e2e.kubelet import streams
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import container, pod, shell
from tests.streaming import Command, spdy_command, websocket_client

TRANSPORTS = ("spdy", streams.V5, streams.V4)
SUCCESS = {"metadata": {}, "status": "Success"}
BOTH = "echo out; echo err >&2; exit 3"
PING = b"PING\r\n"
PONG = b"+PONG\r\n"


def exit_code(said: Command) -> int:
    """Return the code that a status tells."""
    if said.status["status"] == "Success":
        return 0
    details = said.status["details"]
    assert isinstance(details, dict)
    (cause,) = details["causes"]
    assert (said.status["reason"], cause["reason"]) == ("NonZeroExitCode", "ExitCode")
    return int(cause["message"])


async def run(transport: str, url: str, stdin: bytes | None = None) -> Command:
    """Run a command over a transport."""
    if transport == "spdy":
        async with streams.spdy(url) as client:
            kinds = ("stdin", "stdout", "stderr") if stdin is not None else ("stdout", "stderr")
            return await spdy_command(client, kinds, stdin)
    async with streams.websocket(url, transport) as socket:
        return await streams.websocket_command(socket, stdin)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_command_has_streams_and_an_exit_code(kube: Node, transport: str) -> None:
    found = await kube.run(pod(f"commanded-{transport[:2]}", [shell("main", kube.image(BUSYBOX))]))
    name = found.metadata.name
    said = await run(transport, streams.command_url("exec", name, ["sh", "-c", BOTH]))
    assert (said.stdout, said.stderr, exit_code(said)) == (b"out\n", b"err\n", 3)
    said = await run(transport, streams.command_url("exec", name, ["true"]))
    assert (said.stdout, said.stderr, exit_code(said)) == (b"", b"", 0)
    wrong = await run(transport, streams.command_url("exec", name, ["no-such-program"]))
    assert wrong.status["status"] == "Failure"
    assert "no-such-program" in json.dumps(wrong.status)


@pytest.mark.parametrize("transport", ["spdy", streams.V5])
async def test_a_command_reads_input_to_its_end(kube: Node, transport: str) -> None:
    found = await kube.run(pod(f"reading-{transport[:2]}", [shell("main", kube.image(BUSYBOX))]))
    url = streams.command_url("exec", found.metadata.name, ["cat"], stdin=True)
    data = bytes(range(256)) * 4096
    said = await run(transport, url, data)
    assert said.stdout == data
    assert exit_code(said) == 0


async def test_a_terminal_has_the_size_it_is_given(kube: Node) -> None:
    found = await kube.run(pod("terminal", [shell("main", kube.image(BUSYBOX))]))
    script = 'while read -r line; do stty size; [ "$line" != end ] || exit 5; done'
    argv = ["sh", "-c", script]
    url = streams.command_url("exec", found.metadata.name, argv, stdin=True, tty=True)
    async with streams.spdy(url) as client:
        kinds = ("error", "stdin", "stdout", "resize")
        numbers = {kind: await client.open({"streamtype": kind}) for kind in kinds}
        await client.send(numbers["resize"], b'{"Width":91,"Height":37}')
        asked = b""
        async with asyncio.timeout(10):  # a size counts as soon as it arrives, with no answer
            while b"37 91" not in client.streams[numbers["stdout"]].data:
                asked += b"size\r\n"
                await client.send(numbers["stdin"], b"size\n")
                await client.until_data(numbers["stdout"], len(asked) + 5)
        await client.send(numbers["stdin"], b"end\n")
        status = json.loads((await client.until_over(numbers["error"])).data)
    assert exit_code(Command(status=status)) == 5


@pytest.mark.parametrize("transport", ["spdy", streams.V5])
async def test_attaching_gives_a_container_s_own_streams(kube: Node, transport: str) -> None:
    script = 'while read -r line; do echo "got $line"; echo "bad $line" >&2; done'
    main = shell("main", kube.image(BUSYBOX), script, stdin=True)
    found = await kube.run(pod(f"attached-{transport[:2]}", [main]))
    url = streams.command_url("attach", found.metadata.name, stdin=True)
    if transport == "spdy":
        async with streams.spdy(url) as client:
            kinds = ("error", "stdin", "stdout", "stderr")
            numbers = {kind: await client.open({"streamtype": kind}) for kind in kinds}
            await client.send(numbers["stdin"], b"one\n")
            assert await client.until_data(numbers["stdout"], 8) == b"got one\n"
            assert await client.until_data(numbers["stderr"], 8) == b"bad one\n"
    else:
        async with streams.websocket(url, transport) as socket:
            socket.send(streams.STDIN, b"one\n")
            assert await socket.until_data(streams.STDOUT, 8) == b"got one\n"
            assert await socket.until_data(streams.STDERR, 8) == b"bad one\n"
    logged = (await kube.log(found.metadata.name)).splitlines()
    assert sorted(logged) == ["bad one", "got one"]  # each stream has a reader of its own


async def test_ports_are_forwarded_over_spdy_plain_and_tunnelled(kube: Node) -> None:
    found = await kube.run(pod("forwarded", [container("main", kube.image(REDIS))]))
    url = streams.forward_url(found.metadata.name)
    for connection in (streams.spdy(url, streams.FORWARD), streams.tunnel(url)):
        async with connection as client:
            first = await streams.port(client, 6379, 0)
            second = await streams.port(client, 6379, 1)
            assert await first.ask(PING, len(PONG)) == PONG
            large = b"x" * (1 << 20)
            request = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(large), large)
            answer = b"$%d\r\n%s\r\n" % (len(large), large)
            assert await second.ask(request, len(answer)) == answer
            assert await first.close() == b""
            refused = await streams.port(client, 81, 2)
            assert b"81" in await refused.close()
            assert await second.close() == b""


async def test_a_port_is_forwarded_over_a_plain_websocket(kube: Node) -> None:
    found = await kube.run(pod("plain", [container("main", kube.image(REDIS))]))
    url = streams.forward_url(found.metadata.name, 6379)
    async with websocket_client(url, streams.V4, FORWARD_WEBSOCKET, tls=streams.tls()) as socket:
        named = struct.pack("<H", 6379)
        assert await socket.until_data(0, 2) == named
        assert await socket.until_data(1, 2) == named
        socket.send(0, PING)
        assert await socket.until_data(0, 2 + len(PONG)) == named + PONG


async def test_streams_leave_nothing_behind(kube: Node) -> None:
    found = await kube.run(pod("vanishing", [shell("main", kube.image(BUSYBOX))]))
    name = found.metadata.name
    url = streams.command_url("exec", name, ["sh", "-c", "echo on; exec sleep 54321"])
    for _ in range(3):
        async with streams.spdy(url) as client:
            numbers = [
                await client.open({"streamtype": kind}) for kind in ("error", "stdout", "stderr")
            ]
            assert await client.until_data(numbers[1], 3) == b"on\n"
    async with asyncio.timeout(20):
        while "54321" in await kube.exec(name, "ps"):
            await asyncio.sleep(0.1)
