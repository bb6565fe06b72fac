"""`ferry exec -i`, `attach` and `port-forward`, with pipes and with a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, get
from e2e.daemon import Service
from e2e.images import BUSYBOX
from e2e.test_cli import Ferry

pytestmark = [pytest.mark.root, pytest.mark.ferry]

SECONDS = 30.0


@pytest.fixture
def ferry(daemon: Service) -> Ferry:
    return Ferry(daemon.address)


@pytest.fixture
async def main(cri: Client, images: Mapping[str, str], logs: Path) -> AsyncIterator[str]:
    """A container that serves its /etc on port 8080 and answers to its input."""
    serve = 'httpd -p 8080 -h /etc; while read line; do echo "got $line"; done'
    async with cri.pod(Pod(name="session", logs=logs), "crun") as running:
        container = Container(name="main", image=images[BUSYBOX], command=["sh", "-c", serve])
        config = container.config(running.pod)
        config.stdin = config.stdin_once = True
        yield await cri.run(running, container, config)


def piped(ferry: Ferry, *argv: str, sent: bytes) -> tuple[int, bytes, bytes]:
    """Run a command with this as its input; return its exit code, output and errors."""
    command = [sys.executable, "-m", "cri.cli", *argv]
    ended = subprocess.run(
        command,
        input=sent,
        capture_output=True,
        env=ferry.environment(),
        timeout=SECONDS,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


async def test_pipes_reach_a_program_and_come_back(ferry: Ferry, main: str) -> None:
    sent = os.urandom(1 << 20)
    script = "cat; echo err >&2; exit 3"
    assert piped(ferry, "exec", "-i", main, "sh", "-c", script, sent=sent) == (3, sent, b"err\n")


async def test_attach_hands_over_the_containers_input(ferry: Ferry, cri: Client, main: str) -> None:
    assert piped(ferry, "attach", "-i", "main", sent=b"one\n") == (0, b"got one\n", b"")
    assert (await cri.status(main)).state == pb.CONTAINER_EXITED


async def test_a_time_limit_ends_the_program(ferry: Ferry, cri: Client, main: str) -> None:
    argv = ("exec", "-i", "--timeout", "1", main, "sleep", "4245")
    code, _, errors = piped(ferry, *argv, sent=b"")
    assert (code, b"no end within 1 s" in errors) == (1, True)
    assert "4245" not in await cri.output(main, "ps", "-o", "args")


async def test_nobody_reads_the_output(ferry: Ferry, cri: Client, main: str) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "cri.cli", "exec", "-i", main, "cat", "/dev/zero"]
    with subprocess.Popen(  # noqa: ASYNC220 - the loop is the test's own
        command,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        env=ferry.environment(),
    ) as process:
        os.close(writer)
        assert os.read(reader, 10) == bytes(10)
        os.close(reader)
        assert process.wait(SECONDS) == 1
    assert "/dev/zero" not in await cri.output(main, "ps", "-o", "args")


async def test_a_terminal_here_is_a_terminal_there(ferry: Ferry, main: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 111, 0, 0))
    before = termios.tcgetattr(theirs)
    script = "read line; until stty size | grep '40 111'; do sleep 0.01; done; exit 5"
    process = subprocess.Popen(  # noqa: ASYNC220 - the loop is the test's own
        [sys.executable, "-m", "cri.cli", "exec", "-it", main, "sh", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=ferry.environment(),
    )
    os.write(ours, b"go\r")
    try:
        assert process.wait(SECONDS) == 5
    finally:
        process.kill()
    os.set_blocking(ours, False)
    screen = b""
    while b"40 111" not in screen:
        screen += os.read(ours, 1000)
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


async def test_ports_are_forwarded_until_interrupted(ferry: Ferry, main: str) -> None:
    with ferry.running("port-forward", "session", "0:8080") as process:
        assert process.stdout
        line = process.stdout.readline()
        local = int(line.removeprefix("127.0.0.1:").removesuffix(" -> 8080\n"))
        for _ in range(3):
            assert await get("127.0.0.1", local, "/hostname") == "session\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
