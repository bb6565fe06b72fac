import asyncio
import os
import signal

import pytest

from runtime.capture import Streams
from runtime.kernel.processes import stat_fields
from runtime.pidfd import Process, identify
from runtime.process import spawn
from runtime.tree import Tree
from tests.waiting import until

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/bin/setsid"), reason="no setsid here")  # noqa: PTH110


async def family(script: str) -> tuple[Process, Streams, list[int]]:
    """Run a script that starts three sleeps and tells their pids."""
    streams = Streams(1000)
    process = spawn(("/bin/bash", "-c", script), fds=streams.fds, session=True)
    streams.started()
    await until(lambda: streams.stdout.data.count(b"\n") == 2)
    return process, streams, [int(pid) for pid in streams.stdout.data.split()]


def dead(pid: int) -> bool:
    fields = stat_fields(pid)
    return fields is None or fields[0] == b"Z"


@pytest.mark.parametrize(
    "script",
    [
        "sleep 999 & echo $!; sleep 998 & echo $!; wait",
        "(sleep 999 & echo $!); (sleep 998 & echo $!); sleep 997",
        "(setsid sleep 999 & echo $!); (sleep 998 >/dev/null 2>&1 & echo $!); sleep 997",
        "trap '' TERM; bash -c 'sleep 999 & echo $!; sleep 998 & echo $!; wait'; wait",
    ],
)
async def test_all_of_a_tree_dies(script: str) -> None:
    process, streams, children = await family(script)
    tree = Tree(identify(process.pid), streams.inodes)
    assert await asyncio.to_thread(tree.kill, 5.0) == []
    assert await process.wait() == -signal.SIGKILL
    assert all(dead(pid) for pid in children)
    streams.__exit__()


async def test_others_live_on() -> None:
    other = spawn(("/bin/sleep", "1000"), session=True)
    process, streams, _ = await family("sleep 999 & echo $!; sleep 998 & echo $!; wait")
    await asyncio.to_thread(Tree(identify(process.pid), streams.inodes).kill, 5.0)
    await process.wait()
    streams.__exit__()
    assert other.running
    assert not dead(other.pid)
    other.send(signal.SIGKILL)
    await other.wait()


async def test_a_tree_that_is_gone_is_no_error() -> None:
    process = spawn(("/bin/true",), session=True)
    root = identify(process.pid)
    await process.wait()
    assert await asyncio.to_thread(Tree(root).kill, 1.0) == []
