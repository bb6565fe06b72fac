"""Exec, attach and port-forward on the real daemon, over SPDY and WebSocket.

The client is our own, so that everything here runs from the project's own files; critest and the
kubelet bring theirs (`e2e.critest`, `e2e/kubelet`).
"""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from cri.streaming.negotiation import FORWARD_WEBSOCKET
from e2e.client import Client, Container, Pod, Running, code, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import Service, default_settings
from e2e.images import BUSYBOX
from e2e.registry import Registry
from tests.certificates import Authority
from tests.streaming import SpdyClient, spdy_client, spdy_command, websocket_client

pytestmark = pytest.mark.root

Images = Mapping[str, str]

V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
FORWARD: Final = "portforward.k8s.io"
SLEEP: Final = ["sleep", "600"]
# Answers each line on both streams, and ends with 6.
ANSWER: Final = [
    "sh",
    "-c",
    'while read line; do echo "got $line"; echo "err $line" >&2; done; exit 6',
]
SUCCESS: Final = {"metadata": {}, "status": "Success"}
STREAMS: Final = ("stdin", "stdout", "stderr")


def failure(number: int) -> dict[str, object]:
    """Return the status of a program that ended with `number`."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {number}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(number)}]},
    }


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Allow as many descriptors as the machine does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def pod(cri: Client, handler: str, logs: Path) -> AsyncIterator[Running]:
    async with cri.pod(Pod(name="streams", logs=logs), handler) as running:
        yield running


@pytest.fixture
async def main(cri: Client, pod: Running, images: Images) -> str:
    """A container that waits."""
    return await cri.run(pod, Container(name="main", image=images[BUSYBOX], command=SLEEP))


async def reading(
    cri: Client, pod: Running, image: str, *, once: bool = False, tty: bool = False
) -> str:
    """Run a container that answers to its input."""
    container = Container(name="reading", image=image, command=ANSWER)
    config = container.config(pod.pod)
    config.stdin, config.stdin_once, config.tty = True, once, tty
    return await cri.run(pod, container, config)


async def exec_url(cri: Client, container: str, *argv: str, tty: bool = False) -> str:
    request = pb.ExecRequest(
        container_id=container, cmd=argv, stdin=True, stdout=True, stderr=not tty, tty=tty
    )
    return (await cri.runtime.Exec(request)).url


async def attach_url(cri: Client, container: str, *, tty: bool = False) -> str:
    request = pb.AttachRequest(
        container_id=container, stdin=True, stdout=True, stderr=not tty, tty=tty
    )
    return (await cri.runtime.Attach(request)).url


async def forward_url(cri: Client, pod: str, *ports: int) -> str:
    return (
        await cri.runtime.PortForward(pb.PortForwardRequest(pod_sandbox_id=pod, port=ports))
    ).url


async def opened(client: SpdyClient, *kinds: str) -> dict[str, int]:
    return {kind: await client.open({"streamtype": kind}) for kind in ("error", *kinds)}


# --- exec


async def test_exec_tells_output_and_code(cri: Client, main: str) -> None:
    script = "cat; echo err >&2; exit 3"
    async with spdy_client(await exec_url(cri, main, "sh", "-c", script), V4) as client:
        command = await spdy_command(client, STREAMS, stdin=b"to the end")
    assert (command.stdout, command.stderr) == (b"to the end", b"err\n")
    assert command.status == failure(3)


async def test_exec_over_websocket(cri: Client, main: str) -> None:
    """Version 5 alone can say that input ends."""
    script = "cat; echo err >&2"
    async with websocket_client(await exec_url(cri, main, "sh", "-c", script), V5) as client:
        client.send(0, b"to the end")
        client.end(0)
        assert await client.until_closed() == 1000
    assert (client.channels[1], client.channels[2]) == (b"to the end", b"err\n")
    assert client.channels[3] == b'{"metadata": {}, "status": "Success"}'


async def test_much_goes_both_ways_unchanged(cri: Client, main: str) -> None:
    sent = os.urandom(1 << 16) * 128
    async with spdy_client(await exec_url(cri, main, "cat"), V4) as client, asyncio.timeout(60):
        streams = await opened(client, *STREAMS)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(client.until_over(streams["stdout"]))
            for start in range(0, len(sent), 1 << 16):
                piece = sent[start : start + (1 << 16)]
                while client.codec.sendable(streams["stdin"]) < len(piece):
                    await asyncio.sleep(0.01)
                client.codec.send(streams["stdin"], piece)
                client.flush()
                await client.raw.writer.drain()
            client.finish(streams["stdin"])
        assert reading.result().data == sent


async def test_a_terminal_follows_its_clients_size(cri: Client, main: str) -> None:
    # Sizes and input come in streams of their own; nothing puts one before the other.
    script = "read line; until stty size | grep '43 132'; do sleep 0.01; done; exit 4"
    url = await exec_url(cri, main, "sh", "-c", script, tty=True)
    async with spdy_client(url, V4) as client:
        streams = await opened(client, "stdin", "stdout", "resize")
        await client.send(streams["resize"], b'{"Width":80,"Height":24}{"Width":132,"Height":43}')
        await client.send(streams["stdin"], b"go\n")
        assert b"43 132\r\n" in (await client.until_over(streams["stdout"])).data
        assert b"ExitCode" in (await client.until_over(streams["error"])).data


async def test_a_program_that_is_not_there_is_named(cri: Client, main: str) -> None:
    async with spdy_client(await exec_url(cri, main, "/no/such"), V4) as client:
        command = await spdy_command(client, STREAMS)
    assert command.status["reason"] == "InternalError"
    assert "/no/such" in str(command.status["message"])


async def test_a_client_that_vanishes_takes_its_program_with_it(cri: Client, main: str) -> None:
    url = await exec_url(cri, main, "sh", "-c", "sleep 4242 & sleep 4243")
    async with spdy_client(url, V4) as client:
        await opened(client, *STREAMS)
        await until_seen(cri, main, "sleep 4243")
    await until_gone(cri, main, "sleep 424")


async def test_a_client_that_reads_nothing_harms_nobody(cri: Client, main: str) -> None:
    url = await exec_url(cri, main, "sh", "-c", "exec cat /dev/zero")
    async with spdy_client(url, V4) as client:
        await opened(client, *STREAMS)
        client.raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_seen(cri, main, "cat /dev/zero")
        async with spdy_client(await exec_url(cri, main, "echo", "fine"), V4) as other:
            assert (await spdy_command(other, STREAMS)).stdout == b"fine\n"
    await until_gone(cri, main, "cat /dev/zero")


async def until_seen(cri: Client, container: str, text: str) -> None:
    """Wait until a container has a process with this in its command line."""
    async with asyncio.timeout(20):
        while text not in await cri.output(container, "ps", "-o", "args"):
            await asyncio.sleep(0.05)


async def until_gone(cri: Client, container: str, text: str) -> None:
    """Wait until a container has no process with this in its command line."""
    async with asyncio.timeout(20):
        while text in await cri.output(container, "ps", "-o", "args"):
            await asyncio.sleep(0.05)


# --- attach


async def test_all_who_attach_see_the_same(cri: Client, pod: Running, images: Images) -> None:
    container = await reading(cri, pod, images[BUSYBOX])
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(spdy_client(await attach_url(cri, container), V4))
            for _ in range(5)
        ]
        streams = [await opened(client, *STREAMS) for client in clients]
        await clients[0].send(streams[0]["stdin"], b"one\n")
        for client, numbers in zip(clients, streams, strict=True):
            assert await client.until_data(numbers["stdout"], 8) == b"got one\n"
            assert await client.until_data(numbers["stderr"], 8) == b"err one\n"
        clients[1].finish(streams[1]["stdin"])  # ends nobody's input but its own
        await clients[2].send(streams[2]["stdin"], b"two\n")
        assert await clients[3].until_data(streams[3]["stdout"], 16) == b"got one\ngot two\n"


async def test_input_ends_with_its_first_client_if_made_so(
    cri: Client, pod: Running, images: Images
) -> None:
    container = await reading(cri, pod, images[BUSYBOX], once=True)
    async with spdy_client(await attach_url(cri, container), V4) as client:
        command = await spdy_command(client, STREAMS, stdin=b"last\n")
    assert command.stdout == b"got last\n"
    assert command.status == SUCCESS
    assert (await cri.exited(container)).exit_code == 6


async def test_a_containers_own_terminal(cri: Client, pod: Running, images: Images) -> None:
    container = await reading(cri, pod, images[BUSYBOX], tty=True)
    url = await attach_url(cri, container, tty=True)
    async with websocket_client(url, V5) as client, asyncio.timeout(20):
        client.send(4, b'{"Width":99,"Height":33}')
        client.send(0, b"x\n")
        while b"got x" not in client.channels.get(1, b""):
            await client.step()
    await cri.output(
        container, "sh", "-c", "until stty size </proc/1/fd/0 | grep '33 99'; do :; done"
    )


# --- port-forward


@asynccontextmanager
async def serving(cri: Client, pod: Running, image: str, port: int) -> AsyncIterator[None]:
    """Run a container that answers each connection with what it was sent, after its end."""
    serve = ["nc", "-ll", "-p", str(port), "-e", "cat"]
    identifier = await cri.run(pod, Container(name="serve", image=image, command=serve))
    listening = f"until grep -q :{port:04X} /proc/net/tcp*; do sleep 0.05; done"
    await cri.output(identifier, "sh", "-c", listening)
    yield


@pytest.mark.parametrize("network", ["POD", "NODE"])
async def test_a_port_is_reached_by_its_pod(
    cri: Client, handler: str, logs: Path, images: Images, network: str
) -> None:
    async with (
        cri.pod(Pod(name="ports", logs=logs, network=network), handler) as pod,
        serving(cri, pod, images[BUSYBOX], 12321),
        spdy_client(await forward_url(cri, pod.id), FORWARD) as client,
    ):
        for number in ("0", "1"):
            await exchange(client, number)


async def test_ports_over_plain_websocket(cri: Client, pod: Running, images: Images) -> None:
    async with (
        serving(cri, pod, images[BUSYBOX], 12321),
        websocket_client(await forward_url(cri, pod.id, 12321, 9), V4, FORWARD_WEBSOCKET) as client,
    ):
        client.send(0, b"there and back")
        number = (12321).to_bytes(2, "little")
        assert await client.until_data(0, 16) == number + b"there and back"
        refused = await client.until_data(3, 40)
        assert refused.startswith((9).to_bytes(2, "little") + b"error forwarding port 9: ")


async def test_a_port_on_which_nobody_listens_is_an_error_of_its_own(
    cri: Client, pod: Running
) -> None:
    async with spdy_client(await forward_url(cri, pod.id), FORWARD) as client:
        headers = {"port": "9", "requestid": "0"}
        error = await client.open({**headers, "streamtype": "error"})
        data = await client.open({**headers, "streamtype": "data"})
        assert b"Connection refused" in (await client.until_over(error)).data
        assert (await client.until_over(data)).reset


# --- refusals


async def test_what_does_not_run_gets_no_url(cri: Client, pod: Running, main: str) -> None:
    await cri.stop(main)
    await cri.stop_pod(pod.id)
    for asking in (
        exec_url(cri, main, "true"),
        attach_url(cri, main),
        forward_url(cri, pod.id, 80),
    ):
        with pytest.raises(aio.AioRpcError) as failed:
            await asking
        assert code(failed.value) is StatusCode.FAILED_PRECONDITION


async def test_attach_must_ask_for_a_terminal_as_there_is_one(cri: Client, main: str) -> None:
    async with websocket_client(await attach_url(cri, main, tty=True), V5) as client:
        await client.until_closed()
    assert b"tty does not fit" in client.channels[3]


# --- other pods, other daemons


async def test_pods_with_users_of_their_own(
    cri: Client, handler: str, logs: Path, images: Images
) -> None:
    async with (
        cri.pod(Pod(name="mapped", logs=logs, users=(200_000, 65_536)), handler) as pod,
        serving(cri, pod, images[BUSYBOX], 12321),
    ):
        main = await cri.run(pod, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        script = "tty && stat -c %u $(tty) && cat /proc/self/uid_map"
        url = await exec_url(cri, main, "sh", "-c", script, tty=True)
        async with spdy_client(url, V4) as client:
            said = (await spdy_command(client, ["stdin", "stdout", "resize"])).stdout.split()
        assert said[0].startswith(b"/dev/pts/")
        assert said[1:] == [b"0", b"0", b"200000", b"65536"]
        async with spdy_client(await forward_url(cri, pod.id), FORWARD) as client:
            await exchange(client, "0")


async def exchange(client: SpdyClient, request: str) -> None:
    """Send through a forwarded port, end, and see that all came back."""
    headers = {"port": "12321", "requestid": request}
    error = await client.open({**headers, "streamtype": "error"})
    data = await client.open({**headers, "streamtype": "data"})
    await client.send(data, b"there and back")
    client.finish(data)
    assert (await client.until_over(data)).data == b"there and back"
    assert (await client.until_over(error)).data == b""


@pytest.mark.ferry
@pytest.mark.parametrize("crash", [False, True])
async def test_a_new_daemon_attaches_to_what_runs(
    make_daemon: DaemonMaker, registry: Registry, logs: Path, *, crash: bool
) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as cri:
        image = await cri.pull(registry.reference(BUSYBOX))
        pod = await cri.run_pod(Pod(name="kept", logs=logs), "crun")
        container = await reading(cri, pod, image)
        async with spdy_client(await attach_url(cri, container), V4) as client:
            streams = await opened(client, *STREAMS)
            await client.send(streams["stdin"], b"one\n")
            assert await client.until_data(streams["stdout"], 8) == b"got one\n"
            await asyncio.to_thread(daemon.restart, crash=crash)
            await client.until_over(streams["error"])
            assert client.gone
    async with connected(daemon.address) as cri:
        async with spdy_client(await attach_url(cri, container), V4) as client:
            streams = await opened(client, *STREAMS)
            await client.send(streams["stdin"], b"two\n")
            assert await client.until_data(streams["stdout"], 8) == b"got two\n"
        await cri.stop_pod(pod.id)
        await cri.remove_pod(pod.id)


@pytest.mark.ferry
async def test_https_for_those_who_have_certificates(
    make_daemon: DaemonMaker, registry: Registry, logs: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, mine = authority.issue("server"), authority.issue("client")
    settings = default_settings(tmp_path, number=9)
    settings["streaming"] = {
        "certificate": str(server.certificate),
        "key": str(server.key),
        "client_authority": str(authority.certificate),
    }
    daemon = make_daemon(settings)
    tls = ssl.create_default_context(cafile=authority.certificate)
    async with connected(daemon.address) as cri:
        image = await cri.pull(registry.reference(BUSYBOX))
        async with cri.pod(Pod(name="tls", logs=logs), "crun") as pod:
            main = await cri.run(pod, Container(name="main", image=image, command=SLEEP))
            url = await exec_url(cri, main, "cat")
            assert url.startswith("https://127.0.0.1:")
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                async with spdy_client(url, V4, tls=tls):
                    pass
            tls.load_cert_chain(mine.certificate, mine.key)
            async with spdy_client(url, V4, tls=tls) as client:
                assert (await spdy_command(client, STREAMS, stdin=b"safe")).stdout == b"safe"


# --- nothing is left


def held(pid: int) -> tuple[int, int]:
    """Return how many descriptors and threads a process has."""
    descriptors, threads = (list(Path(f"/proc/{pid}/{kind}").iterdir()) for kind in ("fd", "task"))
    return len(descriptors), len(threads)


async def test_hundreds_of_sessions_leave_nothing(
    daemon: Service, cri: Client, pod: Running, main: str, images: Images
) -> None:
    """The same on sockets and fakes, in thousands: tests/hostile/test_streaming.py."""
    container = await reading(cri, pod, images[BUSYBOX])
    async with serving(cri, pod, images[BUSYBOX], 12321):

        async def all_kinds(*, politely: bool) -> None:
            async with spdy_client(await exec_url(cri, main, "cat"), V4) as client:
                if politely:
                    assert (await spdy_command(client, STREAMS, stdin=b"x")).stdout == b"x"
                else:
                    await opened(client, *STREAMS)
            async with spdy_client(await attach_url(cri, container), V4) as client:
                await opened(client, *STREAMS)
            async with spdy_client(await forward_url(cri, pod.id), FORWARD) as client:
                for kind in ("error", "data"):
                    await client.open({"streamtype": kind, "port": "12321", "requestid": "0"})

        for _ in range(5):
            await all_kinds(politely=True)
        descriptors, threads = held(daemon.pid)
        async with asyncio.timeout(120):
            for number in range(100):
                await all_kinds(politely=number % 2 == 0)
        # Pools and gRPC take a few of both when they need them: a leak would be a hundred.
        await until_few(daemon.pid, descriptors + 10)
        assert held(daemon.pid)[1] <= threads + 10
        await until_gone(cri, main, "cat")


@pytest.mark.ferry
async def test_ten_thousand_idle_clients_on_either_server(
    make_daemon: DaemonMaker, registry: Registry, logs: Path
) -> None:
    """On the gRPC socket each costs the daemon a descriptor until its time to begin is up."""
    many = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2)
    print(f"{many} clients, as many as RLIMIT_NOFILE allows") if many < 10_000 else None
    daemon = make_daemon()
    async with connected(daemon.address) as cri:
        image = await cri.pull(registry.reference(BUSYBOX))
        async with cri.pod(Pod(name="busy", logs=logs), "crun") as pod:
            main = await cri.run(pod, Container(name="main", image=image, command=SLEEP))
            before = held(daemon.pid)[0]
            for begin in (b"", b"PRI * HTTP/2.0\r\n", os.urandom(200)):
                with crowd(str(daemon.address), many, begin):
                    await served(cri, daemon, main)
                    await until_few(daemon.pid, before + 10)  # they had their time to begin
            url = await exec_url(cri, main, "true")
            host, _, port = url.split("/")[2].partition(":")
            with crowd((host, int(port)), many, b""):
                await served(cri, daemon, main)
            await until_few(daemon.pid, before + 10)


async def until_few(pid: int, descriptors: int) -> None:
    """Wait until a process has no more descriptors than this."""
    async with asyncio.timeout(30):
        while held(pid)[0] > descriptors:
            await asyncio.sleep(0.05)


@contextmanager
def crowd(address: str | tuple[str, int], many: int, begin: bytes) -> Iterator[None]:
    """Hold so many connections for the block, each of which says this and no more."""
    with ExitStack() as stack:
        for _ in range(many):
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            one = stack.enter_context(socket.socket(family))
            one.connect(address)
            with suppress(OSError):  # turned away already
                one.sendall(begin)
        yield


async def served(cri: Client, daemon: Service, container: str) -> None:
    """Fail unless old and new clients are served, and soon."""
    async with asyncio.timeout(15):
        assert (await cri.status(container)).state == pb.CONTAINER_RUNNING
        async with connected(daemon.address) as other:
            assert await other.output(container, "echo", "served") == "served"
            url = await exec_url(other, container, "echo", "streamed")
        async with spdy_client(url, V4) as client:
            assert (await spdy_command(client, STREAMS)).stdout == b"streamed\n"
