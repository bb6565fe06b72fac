"""Killing a program together with everything it started, whose parents may be gone by then.

A process belongs to the tree if its parent does, if its session was opened by a member (so a double
fork does not hide it), or if it holds the pipe that only members were given. Nothing older than
the first member can belong, which also keeps the search cheap.
"""

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from runtime.kernel.processes import stat_fields
from runtime.pidfd import PROC, ProcessId, kill

_ROUND = 0.005


@dataclass(slots=True)
class Tree:
    """The tree below `root`, a child that was started as the leader of a session of its own.

    `pipes` are inodes of pipes whose writing ends were given to the root alone. Members are
    remembered, because what a dead member leaves behind is known by its session only.
    """

    root: ProcessId
    pipes: Collection[int] = ()
    members: set[int] = field(default_factory=set)

    def kill(self, within: float) -> list[int]:
        """SIGKILL until nothing new shows up; return what is left after `within` seconds.

        Blocking: call from a thread.
        """
        self.members.add(self.root.pid)
        deadline = time.monotonic() + within
        while True:
            alive = self._find()
            if not alive or time.monotonic() > deadline:
                return [process.pid for process in alive]
            for process in alive:
                kill(process)
            time.sleep(_ROUND)

    def _find(self) -> list[ProcessId]:
        """Return the living members; a pass that finds new ones is followed by another."""
        entries = list(_younger(self.root.started))
        while True:
            fresh = [entry for entry in entries if self._belongs(entry)]
            if not fresh:
                break
            self.members.update(entry.pid for entry in fresh)
        return [
            ProcessId(pid=entry.pid, started=entry.started)
            for entry in entries
            if entry.pid in self.members and not entry.dead
        ]

    def _belongs(self, entry: "_Entry") -> bool:
        if entry.pid in self.members:
            return False
        related = entry.parent in self.members or entry.session in self.members
        return related or (bool(self.pipes) and _holds(entry.pid, self.pipes))


@dataclass(frozen=True, slots=True)
class _Entry:
    pid: int
    parent: int
    session: int
    started: int
    dead: bool


def _younger(started: int) -> Iterator[_Entry]:
    own = os.getpid()
    for name in os.listdir(PROC):  # noqa: PTH208 - names, not paths, a thousand of them
        if not name.isdigit() or int(name) in (1, own):
            continue
        fields = stat_fields(int(name))
        if fields is not None and int(fields[19]) >= started:
            dead = fields[0] in (b"Z", b"X")
            yield _Entry(int(name), int(fields[1]), int(fields[3]), int(fields[19]), dead)


def _holds(pid: int, pipes: Collection[int]) -> bool:
    names = {f"pipe:[{inode}]" for inode in pipes}
    directory = f"{PROC}/{pid}/fd"
    try:
        return any(_target(f"{directory}/{fd}") in names for fd in os.listdir(directory))  # noqa: PTH208
    except OSError:  # gone, or a zombie
        return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 - no path: `pipe:[N]`
    except OSError:  # closed meanwhile
        return ""
