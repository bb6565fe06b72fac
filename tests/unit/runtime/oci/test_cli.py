"""The command line, with a runtime that is a shell script."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.oci import Handler
from runtime.oci.cli import OciCommandLine
from runtime.oci.launch import Launcher
from runtime.spec import Json, Resources
from store.errors import DeadlineExceededError, Error, FailedPreconditionError
from tests.waiting import PATIENCE

LAUNCH = """
file=$6; shift 7
setsid "$@" </dev/null &
echo $! >"$file"
"""


def encode(resources: Resources) -> Mapping[str, Json]:
    return {"memory": {"limit": resources.memory_limit}}


@pytest.fixture
def handler(tmp_path: Path) -> Handler:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    return Handler(name="sh", binary=tmp_path / "sh", root=root, systemd_cgroup=True)


@pytest.fixture
def runtime(tmp_path: Path) -> OciCommandLine:
    return OciCommandLine(Launcher(tmp_path), encode, timeout=PATIENCE)


def script(handler: Handler, text: str) -> Handler:
    handler.binary.write_text(f'#!/bin/sh\necho "$@" >>{handler.root}/../calls\n{text}\n')
    handler.binary.chmod(0o755)
    return handler


def calls(handler: Handler) -> list[str]:
    return (handler.root.parent / "calls").read_text().splitlines()


async def test_global_options_come_first(handler: Handler, runtime: OciCommandLine) -> None:
    await runtime.start(script(handler, "exit 0"), "a")
    assert calls(handler) == [f"--root={handler.root} --systemd-cgroup start a"]


async def test_a_failure_quotes_the_runtime(handler: Handler, runtime: OciCommandLine) -> None:
    for text, words in (
        ("echo no such thing >&2; exit 1", "cannot start container a: no such thing"),
        ("echo on stdout; exit 1", "on stdout"),
        ("exit 9", "sh ended with 9 without a word"),
        ("kill -9 $$", "sh ended with 137 without a word"),
    ):
        with pytest.raises(FailedPreconditionError, match=words):
            await runtime.start(script(handler, text), "a")


async def test_a_runtime_that_hangs_is_ended(handler: Handler, tmp_path: Path) -> None:
    runtime = OciCommandLine(Launcher(tmp_path), encode, timeout=0.1)
    with pytest.raises(DeadlineExceededError, match=r"start a: no end within 0\.1 s"):
        await runtime.start(script(handler, "exec sleep 1000"), "a")


async def test_a_missing_runtime_is_named(handler: Handler, runtime: OciCommandLine) -> None:
    missing = replace(handler, binary=Path("/nosuch/runtime"))
    with pytest.raises(FailedPreconditionError, match="/nosuch/runtime"):
        await runtime.start(missing, "a")


async def test_delete_starts_nothing_for_what_is_not_kept(
    handler: Handler, runtime: OciCommandLine
) -> None:
    script(handler, "exit 1")
    await runtime.delete(handler, "b", force=True)
    await runtime.delete(replace(handler, root=handler.root / "missing"), "b")
    assert not (handler.root.parent / "calls").exists()


async def test_an_id_within_another_is_not_the_other(
    handler: Handler, runtime: OciCommandLine
) -> None:
    script(handler, "exit 1")
    for name in ("web2", "web.2", "2web"):
        (handler.root / name).mkdir()
    await runtime.delete(handler, "web", force=True)
    assert not (handler.root.parent / "calls").exists()


def test_what_a_killed_daemon_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "exec-1-1").touch()
    (tmp_path / "other").touch()
    OciCommandLine(Launcher(tmp_path), encode)
    assert os.listdir(tmp_path) == ["other"]  # noqa: PTH208


async def test_delete_that_fails_and_leaves_nothing_has_worked(
    handler: Handler, runtime: OciCommandLine
) -> None:
    await runtime.delete(script(handler, f"rmdir {handler.root}/a; exit 1"), "a")
    (handler.root / "a").mkdir()
    with pytest.raises(FailedPreconditionError, match="cannot delete container a"):
        await runtime.delete(script(handler, "exit 1"), "a")


async def test_a_runtime_that_names_its_files_otherwise_is_asked_as_well(
    handler: Handler, runtime: OciCommandLine
) -> None:
    (handler.root / "c2_sandbox:c.state").touch()
    script(handler, f"rm {handler.root}/c2_sandbox:c.state")
    await runtime.delete(handler, "c2", force=True)
    await runtime.delete(handler, "c", force=True)
    assert calls(handler) == [f"--root={handler.root} --systemd-cgroup delete --force c"]


async def test_limits_arrive_on_stdin(handler: Handler, runtime: OciCommandLine) -> None:
    script(handler, f"cat >{handler.root}/stdin")
    await runtime.update(handler, "a", Resources(memory_limit=5))
    assert json.loads((handler.root / "stdin").read_text()) == {"memory": {"limit": 5}}
    assert calls(handler)[0].endswith("update --resources - a")


async def test_started_is_what_the_fifo_says(handler: Handler, runtime: OciCommandLine) -> None:
    assert runtime.started(handler, "a")
    (handler.root / "a" / "exec.fifo").touch()
    assert not runtime.started(handler, "a")


async def test_exec_waits_for_the_launched_program(
    handler: Handler, runtime: OciCommandLine, tmp_path: Path
) -> None:
    script(handler, LAUNCH)
    argv = ("/bin/sh", "-c", "echo out; echo err >&2; sleep 0.05; exit 4")
    output = await runtime.exec(handler, "a", argv, timeout=PATIENCE, limit=100)
    assert (output.stdout, output.stderr, output.exit_code) == (b"out\n", b"err\n", 4)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("exec-")]  # noqa: PTH208


async def test_exec_without_a_process_is_an_error(
    handler: Handler, runtime: OciCommandLine
) -> None:
    with pytest.raises(Error, match="left no process"):
        await runtime.exec(script(handler, "exit 0"), "a", ("x",), timeout=PATIENCE, limit=100)


async def test_a_launch_that_hangs_ends_with_its_time(
    handler: Handler, runtime: OciCommandLine
) -> None:
    before = time.monotonic()
    script(handler, "sleep 1000 & sleep 1000")
    with pytest.raises(DeadlineExceededError, match=r"container a: no end within 0\.1 s"):
        await runtime.exec(handler, "a", ("x",), timeout=0.1, limit=100)
    assert time.monotonic() - before < PATIENCE
