import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cri import control as controlling
from cri.config import Config, LogFormat, LogLevel
from cri.config.load import Layer, Loaded, build
from cri.control import Control
from runtime import blocking
from runtime.operations import Operations
from tests.waiting import PATIENCE


def loaded(tables: Mapping[str, object]) -> Loaded:
    return build((Layer(origin="/etc/ferry/config.toml", tables=tables),))


class Node:
    """A control, the file it reads, and what systemd is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tables: Mapping[str, object] = {}
        self.operations = Operations()
        self.control = Control(loaded({}), lambda: loaded(self.tables), self.operations)
        self.applied: list[Config] = []
        self.control.on_reload(self.applied.append)
        self.told: list[str] = []
        monkeypatch.setattr(controlling, "notify", lambda *states: self.told.extend(states))


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Node:
    caplog.set_level(logging.INFO, "ferryd")
    return Node(monkeypatch)


def test_a_reload_takes_what_needs_no_restart_and_names_the_rest(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.tables = {
        "daemon": {"log_level": "debug", "log_format": "json", "root": "/srv"},
        "gc": {"interval_seconds": 7},
    }
    node.control.reload()
    words = (
        "changed daemon.log_level, gc.interval_seconds;"
        " after a restart: daemon.root, daemon.log_format"
    )
    assert caplog.messages == [f"reload: {words}"]
    config = node.control.config
    assert node.applied == [config]
    assert (config.daemon.log_level, config.gc.interval_seconds) == (LogLevel.DEBUG, 7.0)
    assert (config.daemon.root, config.daemon.log_format) == (
        Path("/var/lib/ferry"),
        LogFormat.TEXT,
    )
    assert node.told[0] == "RELOADING=1"
    assert node.told[2:] == ["READY=1", f"STATUS=reloaded: {words}"]


def test_what_waits_for_a_restart_is_named_at_every_reload(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.tables = {"daemon": {"log_format": "json"}}
    node.control.reload()
    node.control.reload()
    assert caplog.messages == ["reload: changed nothing; after a restart: daemon.log_format"] * 2


def test_a_bad_file_keeps_the_old_configuration_whole(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.tables = {"gc": {"interval_seconds": 7}, "daemon": {"log_level": "loud"}}
    node.control.reload()
    (message,) = caplog.messages
    assert message.startswith("reload: the old configuration stays: /etc/ferry/config.toml: ")
    assert node.control.config == Config()
    assert node.applied == []
    assert node.told[2] == "READY=1"
    assert node.told[3].startswith("STATUS=reload failed, the old configuration stays: /etc/")


def test_what_is_in_flight_is_told_with_stage_and_age(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    operations = Operations(lambda: now[0])
    control = Control(loaded({}), lambda: loaded({}), operations)

    async def tell() -> None:
        with operations.begin("PullImage", "example.org/a") as operation:
            now[0] = 1.0
            operation.stage("resolve", "example.org/a:latest")
            now[0] = 62.5
            control.tell()

    asyncio.run(tell())
    assert caplog.messages[0] == "operations in flight: 1"
    assert caplog.messages[1] == (
        "operation 1 PullImage example.org/a, 62.5 s:"
        " stage resolve for 61.5 s: example.org/a:latest"
    )
    assert any(message.startswith("task Task-") for message in caplog.messages[2:])


def test_calls_that_nobody_waits_for_are_told(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "stuck", lambda: ["unmount /x for 99 s"])

    async def tell() -> None:
        node.control.tell()

    asyncio.run(tell())
    assert "hangs in the kernel, nobody waits for it any more: unmount /x for 99 s" in (
        caplog.messages
    )


async def heard(number: signal.Signals, condition: Callable[[], bool]) -> None:
    os.kill(os.getpid(), number)
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - a signal sets no event of ours
            await asyncio.sleep(0)


async def test_signals_do_what_they_are_for(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with node.control.signals():
        await heard(signal.SIGHUP, lambda: "reload: changed nothing" in caplog.messages)
        await heard(signal.SIGUSR1, lambda: "operations in flight: 0" in caplog.messages)
        assert repr(node.control) == "<Control: goes on>"
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await node.control.ended()
        assert repr(node.control) == "<Control: ends>"
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_ends_the_daemon(node: Node, number: signal.Signals) -> None:
    with node.control.signals():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(PATIENCE):
            await node.control.ended()


def test_an_error_that_is_not_about_the_file_is_not_hidden() -> None:
    def broken() -> Loaded:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Control(loaded({}), broken, Operations()).reload()
