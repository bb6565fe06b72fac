import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri.notify import notify, reloading, watchdog, watchdog_seconds
from tests.waiting import PATIENCE


@pytest.fixture(params=["path", "abstract"])
def ear(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    name = f"{tmp_path}/notify" if request.param == "path" else f"\0ferry-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield listening


def test_states_arrive_as_lines(ear: socket.socket) -> None:
    notify("READY=1", "STATUS=serves")
    assert ear.recv(100) == b"READY=1\nSTATUS=serves"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_listener_that_is_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "gone"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    notify("STOPPING=1")  # refused
    path.unlink()
    notify("STOPPING=1")  # not there


@pytest.mark.parametrize("ear", ["path"], indirect=True)
def test_a_listener_that_does_not_read_blocks_nobody(ear: socket.socket) -> None:
    for _ in range(1000):
        notify("WATCHDOG=1")
    assert ear.recv(100) == b"WATCHDOG=1"


def test_a_reload_carries_the_time_systemd_wants() -> None:
    state, stamp = reloading()
    assert state == "RELOADING=1"
    key, _, value = stamp.partition("=")
    assert key == "MONOTONIC_USEC"
    assert int(value) > 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_how_often_systemd_wants_to_hear(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: float | None
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert watchdog_seconds() == expected


async def test_the_watchdog_hears_twice_in_its_time(
    ear: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    loop = asyncio.get_running_loop()
    ear.settimeout(0)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        task = group.create_task(watchdog())
        began = loop.time()
        for _ in range(4):
            assert await loop.sock_recv(ear, 100) == b"WATCHDOG=1"
        assert loop.time() - began >= 0.03 - 0.002
        task.cancel()


async def test_without_a_watchdog_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with asyncio.timeout(PATIENCE):
        await watchdog()
