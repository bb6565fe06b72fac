"""Control groups in memory; the contract suite holds it to what the kernel does."""

import itertools
import posixpath
import time
from collections.abc import Iterable
from dataclasses import replace

from runtime.cgroups import Cgroups, Counters, Limits
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError


class MemoryCgroups:
    """`Cgroups` over a dictionary. `members`, `kills` and `counters` are for tests to fill."""

    def __init__(self, version: int = 2) -> None:
        self._version = version
        self.members: dict[str, list[int]] = {}
        self.kills: dict[str, int] = {}
        self.counters: dict[str, Counters] = {}
        self.readings: list[tuple[str, bool]] = []
        self.files: dict[str, dict[str, str]] = {}

    @property
    def version(self) -> int:
        return self._version

    def read(self, directory: str, *, detailed: bool = False) -> Counters:
        path = self._clean(directory)
        self.readings.append((path, detailed))
        if path not in self.members:
            raise NotFoundError(f"cannot read cgroup {directory}: it is gone")
        simple = Counters(timestamp=0, cpu_usage=1, memory_usage=4096)
        pids = len(self.pids(directory)) if detailed else None
        return replace(self.counters.get(path, simple), timestamp=time.time_ns(), pids=pids)

    def limits(self, directory: str, unified: Iterable[str] = ()) -> Limits:
        path = self._clean(directory)
        if path not in self.members:
            raise NotFoundError(f"cannot read the limits of cgroup {directory}: it is gone")
        files = self.files.setdefault(path, {"memory.max": "max\n"})
        for name in unified:
            files.setdefault(name, "0\n")
        return Limits(
            directory=path, files={f"{path}/{name}": text for name, text in files.items()}
        )

    def restore(self, limits: Limits) -> None:
        if limits.directory in self.members:
            self.files[limits.directory] = {
                posixpath.basename(path): text for path, text in limits.files.items()
            }

    def oom_kills(self, directory: str) -> int | None:
        path = self._clean(directory)
        return self.kills.get(path, 0) if path in self.members else None

    def pids(self, directory: str) -> list[int]:
        return sorted(pid for path in self._below(directory) for pid in self.members[path])

    def processes(self, directory: str) -> list[int]:
        return self.pids(directory)

    def kill(self, directory: str) -> None:
        for path in self._below(directory):
            self.members[path] = []

    def remove(self, directory: str) -> None:
        pids = self.pids(directory)
        if pids:
            raise FailedPreconditionError(
                f"cannot remove cgroup {directory}: it holds the processes {pids}"
            )
        for path in self._below(directory):
            del self.members[path]

    def _below(self, directory: str) -> list[str]:
        top = self._clean(directory)
        return [path for path in self.members if path == top or path.startswith(f"{top}/")]

    @staticmethod
    def _clean(directory: str) -> str:
        path = "/" + directory.strip("/")
        if path == "/" or posixpath.normpath(path) != path:
            raise InvalidArgumentError(f"cannot use cgroup {directory!r}: not a clean path")
        return path


class MemoryBench:
    """What the contract suite needs; `cgroups` may be put on top of `memory`."""

    def __init__(self) -> None:
        self.memory = MemoryCgroups()
        self.cgroups: Cgroups = self.memory
        self._numbers = itertools.count(100)

    def make(self, directory: str) -> None:
        parts = directory.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self.memory.members.setdefault("/" + "/".join(parts[:count]), [])

    def limit(self, directory: str, memory: int) -> None:
        self.memory.limits(directory)
        self.memory.files[directory]["memory.max"] = f"{memory}\n"

    def enter(self, directory: str) -> int:
        pid = next(self._numbers)
        self.memory.members[directory].append(pid)
        return pid

    def exists(self, directory: str) -> bool:
        return directory in self.memory.members
