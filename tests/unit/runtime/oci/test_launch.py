import asyncio
import os
from pathlib import Path

import pytest

from runtime.oci import Handler
from runtime.oci.launch import Launch, Launcher
from store.errors import Error, FailedPreconditionError
from tests.waiting import PATIENCE

# What a runtime does: it leaves a process behind and says which.
LEAVES = """\
while [ "$1" != --pid-file ]; do shift; done
{program} &
echo $! >"$2"
"""


@pytest.fixture
def handler(tmp_path: Path) -> Handler:
    return Handler(name="fake", binary=tmp_path / "runtime", root=tmp_path)


def left(scratch: Path) -> list[Path]:
    return list(scratch.glob("exec-*"))


async def said() -> bytes:
    return b"no such container"


def launch(handler: Handler, script: str) -> Launch:
    handler.binary.write_text(f"#!/bin/sh\n{script}")
    handler.binary.chmod(0o755)
    return Launch(handler=handler, container_id="a", argv=("x",), said=said)


async def test_the_program_is_ours_to_wait_for(handler: Handler, tmp_path: Path) -> None:
    # A shell may reap what ends before itself, as no runtime does: so this ends after it.
    outlives = "(while kill -0 $$ 2>/dev/null; do :; done; exit 5)"
    launched = launch(handler, LEAVES.format(program=outlives))
    async with Launcher(tmp_path).program(launched) as program, asyncio.timeout(PATIENCE):
        assert await program.wait() == 5
    assert left(tmp_path) == []


async def test_leaving_the_block_kills_it(handler: Handler, tmp_path: Path) -> None:
    launched = launch(handler, LEAVES.format(program="sleep 1000"))
    async with Launcher(tmp_path).program(launched) as program:
        pid = program.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_runtime_that_refuses_is_quoted(handler: Handler, tmp_path: Path) -> None:
    refused = "cannot exec 'x' in container a: no such container"
    with pytest.raises(FailedPreconditionError, match=refused):
        async with Launcher(tmp_path).program(launch(handler, "exit 1")):
            pass
    assert left(tmp_path) == []


async def test_a_runtime_that_leaves_nothing_is_an_error(handler: Handler, tmp_path: Path) -> None:
    with pytest.raises(Error, match="the runtime left no process"):
        async with Launcher(tmp_path).program(launch(handler, "exit 0")):
            pass


def test_names_differ_and_what_a_killed_daemon_left_is_cleared(tmp_path: Path) -> None:
    for name in ("exec-1-1", "console-1-2", "other"):
        (tmp_path / name).touch()
    launcher = Launcher(tmp_path)
    assert launcher.name("exec") != launcher.name("exec")
    assert [each.name for each in tmp_path.iterdir()] == ["other"]
