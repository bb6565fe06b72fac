import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri.notify import notify, watchdog_seconds


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
        yield channel


def test_states_come_as_one_message(listener: socket.socket) -> None:
    notify("READY=1", "STATUS=serving")
    assert listener.recv(100) == b"READY=1\nSTATUS=serving"


def test_an_abstract_name_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@ferry-test-notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0ferry-test-notify")
        notify("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_a_listener_that_went_away_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("STOPPING=1")


def test_a_listener_that_does_not_read_blocks_nobody(listener: socket.socket) -> None:
    for _ in range(1000):
        notify("WATCHDOG=1")
    assert listener.recv(100) == b"WATCHDOG=1"


def test_the_watchdog_is_for_the_process_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_seconds() is None
    monkeypatch.delenv("WATCHDOG_PID")
    assert watchdog_seconds() == 3.0
