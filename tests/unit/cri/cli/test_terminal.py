import asyncio
import fcntl
import io
import json
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri.cli.terminal import Output, outputs, raw, read_input, sizes
from tests.waiting import PATIENCE


@pytest.fixture
def terminal() -> Iterator[int]:
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


def echoes(fd: int) -> bool:
    flags: int = termios.tcgetattr(fd)[3]
    return bool(flags & termios.ECHO)


def test_a_terminal_is_raw_for_the_block_only(terminal: int) -> None:
    with raw(terminal):
        assert not echoes(terminal)
    assert echoes(terminal)


def test_what_is_no_terminal_stays_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, raw(file.fileno()):
        assert not os.isatty(file.fileno())


async def test_sizes_are_told_at_once_and_as_they_change(terminal: int) -> None:
    told: asyncio.Queue[os.terminal_size] = asyncio.Queue()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with sizes(terminal, told.put_nowait):
        assert told.get_nowait() == (80, 24)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 43, 132, 0, 0))
        os.kill(os.getpid(), signal.SIGWINCH)
        async with asyncio.timeout(PATIENCE):
            assert await told.get() == (132, 43)


async def test_what_has_no_size_tells_none(tmp_path: Path) -> None:
    told: list[os.terminal_size] = []
    with (tmp_path / "file").open("wb") as file, sizes(file.fileno(), told.append):
        assert told == []


async def test_files_and_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    reader, writer = os.pipe()
    os.write(writer, b"y" * 1000)
    os.close(writer)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    for fd, expected in ((file, b"x" * 100_000), (reader, b"y" * 1000)):
        assert await taken(fd) == expected
        os.close(fd)


async def taken(fd: int) -> bytes:
    parts: list[bytes] = []
    ended = asyncio.Event()

    async def take(data: bytes) -> bool:
        parts.append(data)
        if not data:
            ended.set()
        return True

    read_input(fd, take)
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    return b"".join(parts)


async def test_output_as_it_is_and_as_json() -> None:
    plain, named = io.BytesIO(), io.BytesIO()
    assert await Output(plain).write(b"\xffa")
    assert await Output(named, "stderr").write(b"\xffa")
    assert plain.getvalue() == b"\xffa"
    assert json.loads(named.getvalue()) == {"stream": "stderr", "text": "\ufffda"}


async def test_output_that_nobody_reads_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    file = os.fdopen(writer, "wb")
    with pytest.raises(BrokenPipeError):
        await Output(file).write(b"x")
    with pytest.raises(BrokenPipeError):
        file.close()


async def test_json_of_both_streams_is_one_stream(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    for output in outputs(as_json=True):
        await output.write(b"a")
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["stream"] for line in lines] == ["stdout", "stderr"]
