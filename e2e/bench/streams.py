"""B13: bytes through sessions of exec, attach and port-forward, over SPDY as a kubelet speaks it.

The client counts what comes and parses none of it, so that the daemons are measured, not the
client. What frames add is less than a hundredth.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from cri.api.runtime.v1 import api_pb2 as pb
from cri.streaming.spdy import Spdy
from e2e.bench.results import Metric, Results, Unit
from e2e.bench.subject import Sleeper
from e2e.client import Container, Running

_MEGABYTES: Final = 256
# Each byte of a container's own output goes to its log, too.
_ATTACH_MEGABYTES: Final = 64
_PORT: Final = 8080
_BUFFER: Final = 1 << 20
_PATIENCE: Final = 60.0

Once = Callable[[], Awaitable[float]]
"""Takes a session's bytes once; returns the seconds."""


class Counter:
    """A SPDY connection whose bytes are counted."""

    def __init__(self, url: str, protocol: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), _PATIENCE)
        self._spdy = Spdy(server=False)
        self._socket.sendall(
            f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            f"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(1)
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    def open(self, kinds: Sequence[str], **headers: str) -> int:
        """Open streams; return the last one's number."""
        numbers = [self._spdy.open({"streamtype": kind, **headers}) for kind in kinds]
        self._socket.sendall(self._spdy.take())
        return numbers[-1]

    def send(self, stream: int, data: bytes) -> None:
        """Send a few bytes."""
        self._spdy.send(stream, data)
        self._socket.sendall(self._spdy.take())

    def count(self, least: int) -> float:
        """Return the seconds until so many bytes have come, then leave."""
        buffer = bytearray(_BUFFER)
        began, left = time.perf_counter(), least
        with self._socket:
            while left > 0:
                count = self._socket.recv_into(buffer)
                assert count, f"the daemon closed with {left} of {least} bytes to come"
                left -= count
        return time.perf_counter() - began


def zeros(megabytes: int) -> str:
    """Return a command that writes so much as fast as a program can."""
    return f"dd if=/dev/zero bs=256k count={megabytes * 4} 2>/dev/null"


async def streams(sleeper: Sleeper, results: Results, subject: str, rounds: int) -> None:
    """Measure each kind of session, one after the other, in MB/s."""
    pod = await sleeper.pod("streams")
    sources = {"exec output": _exec, "attach": _attach, "port-forward": _forward}
    for name, source in sources.items():
        megabytes, once = await source(sleeper, pod)
        for _ in range(rounds):
            seconds = await once()
            metric = Metric(f"B13 {sleeper.handler}", name, Unit.THROUGHPUT)
            results.add(metric, subject, megabytes / seconds)
    await sleeper.client.stop_pod(pod.id)
    await sleeper.client.remove_pod(pod.id)


async def _exec(sleeper: Sleeper, pod: Running) -> tuple[int, Once]:
    runtime = sleeper.client.runtime
    container = await sleeper.client.run(pod, sleeper.container())
    command = ["sh", "-c", zeros(_MEGABYTES)]

    def work(url: str) -> float:
        counter = Counter(url, "v4.channel.k8s.io")
        counter.open(["error", "stdout"])
        return counter.count(_MEGABYTES << 20)

    async def once() -> float:
        request = pb.ExecRequest(container_id=container, cmd=command, stdout=True)
        return await asyncio.to_thread(work, (await runtime.Exec(request)).url)

    return _MEGABYTES, once


async def _attach(sleeper: Sleeper, pod: Running) -> tuple[int, Once]:
    runtime = sleeper.client.runtime
    answer = f"while read line; do {zeros(_ATTACH_MEGABYTES)}; done"
    container = Container(name="attach", image=sleeper.image, command=["sh", "-c", answer])
    config = container.config(pod.pod)
    config.stdin = True
    identifier = await sleeper.client.run(pod, container, config)

    def work(url: str) -> float:
        counter = Counter(url, "v4.channel.k8s.io")
        counter.open(["error", "stdout"])
        counter.send(counter.open(["stdin"]), b"go\n")
        return counter.count(_ATTACH_MEGABYTES << 20)

    async def once() -> float:
        request = pb.AttachRequest(container_id=identifier, stdin=True, stdout=True)
        return await asyncio.to_thread(work, (await runtime.Attach(request)).url)

    return _ATTACH_MEGABYTES, once


async def _forward(sleeper: Sleeper, pod: Running) -> tuple[int, Once]:
    runtime = sleeper.client.runtime
    serve = f"{zeros(_MEGABYTES)} >/tmp/zeros && exec httpd -f -p {_PORT} -h /tmp"
    container = Container(
        name="serve", image=sleeper.image, command=["sh", "-c", serve], memory=1 << 30
    )
    identifier = await sleeper.client.run(pod, container)
    listening = f"until grep -q :{_PORT:04X} /proc/net/tcp*; do sleep 0.1; done"
    await sleeper.client.output(identifier, "sh", "-c", listening)

    def work(url: str) -> float:
        counter = Counter(url, "portforward.k8s.io")
        data = counter.open(["error", "data"], port=str(_PORT), requestid="0")
        counter.send(data, b"GET /zeros HTTP/1.0\r\n\r\n")
        return counter.count(_MEGABYTES << 20)

    async def once() -> float:
        request = pb.PortForwardRequest(pod_sandbox_id=pod.id, port=[_PORT])
        return await asyncio.to_thread(work, (await runtime.PortForward(request)).url)

    return _MEGABYTES, once
