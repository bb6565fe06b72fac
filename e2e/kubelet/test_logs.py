"""Logs: where the kubelet reads them, and what happens when it rotates them."""

import asyncio
import contextlib
import gzip
import re
from pathlib import Path

from e2e.images import BUSYBOX
from e2e.kubelet.api import PATIENCE
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import UNTIL_TERMINATED, pod, shell

# As the kubelet is configured: see `process`.
LIMIT = 10 << 10
LINES = 2000
COUNT = f"""\
n=0
while [ $n -lt {LINES} ]; do
    n=$((n+1))
    echo "line $n"
    [ $((n % 10)) != 0 ] || sleep 0.03
done
{UNTIL_TERMINATED}
"""
TALK = f"""\
echo "start $(date +%s)"
for n in 1 2 3; do echo $n; done
echo bad
{UNTIL_TERMINATED}
"""


async def test_logs_are_told_by_stream_tail_and_instance(kube: Node) -> None:
    found = await kube.run(pod("talking", [shell("main", kube.image(BUSYBOX), TALK)]))
    name = found.metadata.name
    first = await kube.log(name)
    assert first.splitlines()[1:] == ["1", "2", "3", "bad"]
    assert await kube.log(name, query="tailLines=2") == "3\nbad\n"
    stamped = await kube.log(name, query="timestamps=true&tailLines=1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) bad\n", stamped)
    await kube.kill(name)
    await kube.api.until(name, lambda pod: pod.ready and pod.container().restart_count)
    assert await kube.log(name, query="previous=true") == first
    assert (await kube.log(name)).splitlines()[1:] == ["1", "2", "3", "bad"]


def written(folder: Path) -> list[str]:
    """Return the lines of a container's log and of the files it was rotated to, oldest first."""
    *rotated, current = sorted(folder.iterdir(), key=lambda file: (file.name == "0.log", file.name))
    packed = [file.read_bytes() for file in rotated]
    whole = [gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data for data in packed]
    entries = b"".join([*whole, current.read_bytes()]).decode().splitlines()
    return [entry.split(" ", 3)[3] for entry in entries]


def rotated(folder: Path) -> bool:
    """Tell whether there was a rotation, and nothing is left to rotate."""
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    return len(sizes) > 1 and sizes.get("0.log", LIMIT + 1) <= LIMIT


async def test_rotation_loses_no_line(kube: Node) -> None:
    found = await kube.run(pod("rotated", [shell("main", kube.image(BUSYBOX), COUNT)]))
    expected = [f"line {n}" for n in range(1, LINES + 1)]
    followed = []
    async with asyncio.timeout(PATIENCE):
        path = f"/containerLogs/e2e/{found.metadata.name}/main?follow=true"
        async with contextlib.aclosing(kube.api.lines(path)) as lines:
            async for line in lines:
                followed.append(line)
                if line == expected[-1]:
                    break
    folder = kube.kubelet.logs / f"e2e_{found.metadata.name}_{found.metadata.uid}" / "main"
    async with asyncio.timeout(PATIENCE):
        while not rotated(folder):
            await asyncio.sleep(0.1)
    assert written(folder) == expected
    # A kubelet that follows may miss what is written while it changes files; it sees nothing twice.
    assert followed == [line for line in expected if line in set(followed)]
    assert len(followed) > LINES // 2
