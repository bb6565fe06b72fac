import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.capture import Capture
from runtime.monitor import MonitorRequest, command
from runtime.oci import Handler

REQUEST = MonitorRequest(
    namespace="test",
    container_id="c1",
    name="web",
    bundle=Path("/b"),
    directory=Path("/d"),
    handler=Handler(
        name="crun", binary=Path("/crun"), root=Path("/r"), systemd_cgroup=True, options=("--x",)
    ),
    log_path=Path("/log/0.log"),
)


def option(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_conmon_is_told_everything() -> None:
    words = command.argv(Path("/conmon"), REQUEST)
    assert words[0] == "/conmon"
    assert {"--sync", "--no-sync-log", "--full-attach"} <= set(words)
    assert option(words, "--cid") == option(words, "--cuuid") == "c1"
    assert option(words, "--name") == "web"
    assert option(words, "--runtime") == "/crun"
    runtime = [word for word in words if word.startswith("--runtime-arg=")]
    assert runtime == [
        "--runtime-arg=--root=/r",
        "--runtime-arg=--systemd-cgroup",
        "--runtime-arg=--x",
    ]
    assert option(words, "--bundle") == "/b"
    assert option(words, "--persist-dir") == "/d"
    assert option(words, "--container-pidfile") == "/d/pid"
    assert option(words, "--log-path") == "k8s-file:/log/0.log"
    assert not {"--terminal", "--stdin", "--leave-stdin-open"} & set(words)


def test_without_a_log_output_is_discarded() -> None:
    words = command.argv(Path("/conmon"), replace(REQUEST, log_path=None, name=""))
    assert option(words, "--log-path") == "off"
    assert option(words, "--name") == "c1"


@pytest.mark.parametrize(
    ("once", "flags"), [(True, {"--stdin"}), (False, {"--stdin", "--leave-stdin-open"})]
)
def test_stdin_is_left_open_unless_for_one_client(once: bool, flags: set[str]) -> None:  # noqa: FBT001
    request = replace(REQUEST, terminal=True, stdin=True, stdin_once=once)
    words = set(command.argv(Path("/conmon"), request))
    assert words & {"--stdin", "--leave-stdin-open"} == flags
    assert "--terminal" in words


async def test_it_is_told_where_to_report() -> None:
    with contextlib.closing(Capture(100)) as sync:
        script = "echo $_OCI_SYNCPIPE >&3"
        child = command.start(("/bin/sh", "-c", script), {"PATH": "/bin"}, sync, {})
        sync.started()
        assert await sync.line() == b"3"
        assert await child.wait() == 0
