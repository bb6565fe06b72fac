import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri import server
from store.errors import FailedPreconditionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ferry.sock"


@pytest.fixture
def somebody(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        yield listening


async def serve_once(path: Path) -> None:
    running = server.make(())
    await server.listen(running, path)
    await running.stop(0)


async def test_the_socket_is_made_for_root_and_its_group(path: Path) -> None:
    running = server.make(())
    nested = path.parent / "a" / "b.sock"
    mask = os.umask(0o022)
    os.umask(mask)
    await server.listen(running, nested)
    try:
        assert stat.S_IMODE(nested.stat().st_mode) == 0o660
        assert server.listener(nested).startswith(f"process {os.getpid()} (")
        assert os.umask(mask) == mask
    finally:
        await running.stop(0)


async def test_the_socket_of_a_dead_daemon_is_replaced(path: Path, somebody: socket.socket) -> None:
    assert server.listener(path)
    somebody.close()
    assert server.listener(path) == ""
    await serve_once(path)


@pytest.fixture
def name() -> str:
    return Path("/proc/self/comm").read_text().strip()


@pytest.mark.usefixtures("somebody")
async def test_the_socket_of_a_live_process_is_left_alone(path: Path, name: str) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        await serve_once(path)
    assert str(raised.value) == (
        f"cannot listen on {path}: process {os.getpid()} ({name}) does; stop it, or set"
        " daemon.address"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_process_whose_queue_is_full_still_listens(path: Path, somebody: socket.socket) -> None:
    somebody.listen(0)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        assert server.listener(path) == "a process that does not answer"


def test_what_is_not_a_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(FailedPreconditionError, match="is not a socket; move it away"):
        asyncio.run(serve_once(path))
    assert path.read_text() == "precious"


async def test_a_path_too_long_for_a_socket_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match=r"at most 107 bytes: set daemon\.address"):
        await serve_once(tmp_path / ("x" * 107))


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=f"cannot make room for {tmp_path}/file/a/ferry.sock"):
        await serve_once(tmp_path / "file" / "a" / "ferry.sock")
