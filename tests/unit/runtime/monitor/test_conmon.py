"""conmon's client, with a conmon that is a shell script."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel.syscalls import become_subreaper
from runtime.monitor import MonitorRequest
from runtime.monitor.conmon import Conmon
from runtime.oci import Handler
from store.errors import DeadlineExceededError, FailedPreconditionError
from tests.fakes.containers import FakeNode, FakeRuntime
from tests.waiting import PATIENCE, until


@pytest.fixture
def request_(tmp_path: Path) -> MonitorRequest:
    return MonitorRequest(
        namespace="test",
        container_id="a",
        name="a",
        bundle=tmp_path,
        directory=tmp_path,
        handler=Handler(name="x", binary=Path("/runtime"), root=Path("/x")),
    )


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


def conmon(path: Path, node: FakeNode, script: str, timeout: float = PATIENCE) -> Conmon:
    binary = path / "conmon"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return Conmon(binary, FakeRuntime(node), env={"PATH": "/usr/bin:/bin"}, timeout=timeout)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo \'{"pid": -1, "message": "no"}\' >&3; exit 1', "cannot create container a: no$"),
        ("echo 'conmon: no log' >&2; exit 1", "conmon: no log"),
        ("exit 3", "conmon ended with 3 without a word"),
        ("echo '{\"pid\": 4194305}' >&3; exec sleep 1000", "its first process died at once"),
    ],
)
async def test_a_create_that_fails_says_why_and_clears_up(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest, script: str, words: str
) -> None:
    monitor = conmon(tmp_path, node, script)
    with pytest.raises(FailedPreconditionError, match=words):
        await monitor.create(request_)
    assert node.calls == ["delete"]
    assert monitor._children == {}


async def test_a_monitor_that_hangs_is_killed_with_all_it_started(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest
) -> None:
    script = f"sleep 1000 & echo $! >{tmp_path}/child; wait"
    monitor = conmon(tmp_path, node, script, timeout=1)
    with pytest.raises(DeadlineExceededError, match=r"runtime did not answer within 1 s"):
        await monitor.create(request_)
    child = int((tmp_path / "child").read_text())
    await until(lambda: not Path(f"/proc/{child}/exe").exists())
    assert node.calls == ["delete"]


async def test_an_exit_is_heard_and_the_monitor_forgotten(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest
) -> None:
    script = f"echo '{{\"pid\": '$$'}}' >&3; sleep 0.05; echo 6 >{tmp_path}/exit"
    monitor = conmon(tmp_path, node, script)
    created = await monitor.create(request_)
    ended = await monitor.wait(request_, created)
    assert ended is not None
    assert ended.code == 6
    await until(lambda: monitor._children == {})


async def test_what_an_earlier_run_left_is_not_taken_for_an_exit(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest
) -> None:
    for name in ("exit", "oom", "pid"):
        (tmp_path / name).write_text("1")
    conmon(tmp_path, node, "").prepare(request_)
    assert sorted(os.listdir(tmp_path)) == ["conmon"]  # noqa: PTH208


async def test_a_stopped_monitor_is_continued_once_its_container_is_gone(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest
) -> None:
    script = (
        f"sleep 0.05 & echo '{{\"pid\": '$!'}}' >&3; kill -STOP $$; wait; echo 9 >{tmp_path}/exit"
    )
    monitor = conmon(tmp_path, node, script)
    created = await monitor.create(request_)
    ended = await monitor.wait(request_, created)
    assert ended is not None
    assert ended.code == 9


async def test_a_monitor_that_says_nothing_is_killed(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    become_subreaper()  # as the OCI command line does
    monkeypatch.setattr("runtime.monitor.conmon._UNTIL_KILLED", 0.1)
    script = "sleep 0.05 & echo '{\"pid\": '$!'}' >&3; exec sleep 1000"
    monitor = conmon(tmp_path, node, script)
    created = await monitor.create(request_)
    ended = await monitor.wait(request_, created)
    assert ended is not None  # the zombie it had not reaped has become our child
    assert ended.code == 0
    assert await monitor.wait(request_, created) is None


async def test_nothing_is_looked_for_where_nobody_holds_the_lock(
    tmp_path: Path, node: FakeNode, request_: MonitorRequest
) -> None:
    monitor = conmon(tmp_path, node, "")
    assert await monitor.find(request_) is None
    missing = replace(request_, directory=tmp_path / "missing")
    assert await monitor.find(missing) is None
