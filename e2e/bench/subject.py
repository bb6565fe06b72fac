"""The two that are compared, driven by one client, and what they cost."""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from e2e.client import Client, Container, Pod, Running
from e2e.daemon import Service
from e2e.processes import stat

_TICK: Final = os.sysconf("SC_CLK_TCK")
# Programs that stay beside containers, for ferry and for the peer.
_MONITORS: Final = frozenset({"conmon", "containerd-shim", "containerd-shim-runc-v2", "pause"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """A daemon under measurement: its name, how to make another one, and the one that runs."""

    name: str
    make: Callable[[Path], Service]
    service: Service


async def timed(work: Awaitable[T], into: list[float]) -> T:
    """Await `work`; append the milliseconds it took."""
    began = time.perf_counter()
    result = await work
    into.append((time.perf_counter() - began) * 1000)
    return result


@dataclass(frozen=True, slots=True)
class Sleeper:
    """The pods and containers of the benchmark: as a kubelet sends them, doing nothing."""

    client: Client
    image: str
    handler: str
    logs: Path

    async def pod(self, name: str) -> Running:
        """Run a sandbox."""
        return await self.client.run_pod(Pod(name=name, logs=self.logs), self.handler)

    def container(self, name: str = "main") -> Container:
        """Return a container that leaves on SIGTERM and uses no time."""
        return Container(name=name, image=self.image, command=["top", "-b", "-d", "3600"])


def processes_of(service: Service) -> Iterator[int]:
    """Yield the daemon, its children and its containers' monitors."""
    marks = (str(service.state).encode(), str(service.root).encode())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "exe").readlink().name
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        ours = any(mark in command for mark in marks)
        if int(entry.name) == service.pid or (name in _MONITORS and ours):
            yield int(entry.name)


def memory(pid: int) -> tuple[float, float]:
    """Return the RSS and PSS of a process in MB; zeros if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    values = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return values["Rss:"] / 1024, values["Pss:"] / 1024


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, its descendants, and those they have waited for."""
    ticks: dict[int, int] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = stat(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    return sum(ticks[each] for each in parents if _descends(each, pid, parents)) / _TICK


def _descends(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def running(stack: ExitStack, subject: Subject, folder: Path) -> Service:
    """Start another daemon of the subject's kind on `folder`; it ends with the stack."""
    return stack.enter_context(subject.make(folder))
