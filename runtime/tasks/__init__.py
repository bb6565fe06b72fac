"""Tasks, the running side of containers: the contract.

A task belongs to the container record of the same (namespace, id). Its life is a table of moves
(`states`); every move is on disk before anyone sees it. Tasks outlive the daemon: `recover` finds
each of them again, or says why it cannot (UNKNOWN, with the reason in `message`).
"""

import enum
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.oci import ExecOutput, Handler
from runtime.pidfd import ProcessId
from runtime.spec import Resources


class State(enum.StrEnum):
    """Where a task is in its life."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task's record. Times are Unix nanoseconds, 0 for "not yet".

    `cgroup` is the directory below the hierarchy's root (`CgroupPaths.directory`). `failure` is
    set when the runtime could not create or start it: the runtime's own message.
    """

    namespace: str
    id: str
    handler: str
    bundle: Path
    directory: Path
    state: State
    cgroup: str = ""
    log_path: Path | None = None
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False
    process: ProcessId | None = None
    monitor: ProcessId | None = None
    created_at: int = 0
    started_at: int = 0
    exited_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    failure: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A task to create from a bundle whose config.json and root filesystem are in place."""

    namespace: str
    id: str
    name: str
    handler: str
    bundle: Path
    cgroup: str
    log_path: Path | None = None
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False


TaskObserver = Callable[[Task | None, Task], None]
"""Is told of a task before and after it moved; None before it was there."""


class TaskReader(Protocol):
    """Lookup, from memory."""

    def get(self, namespace: str, id_: str) -> Task:
        """Return the task or raise NotFoundError."""
        ...

    def find(self, namespace: str, id_: str) -> Task | None:
        """Return the task or None."""
        ...

    def walk(self, namespace: str | None = None) -> list[Task]:
        """Return every task of a namespace, or of all, in key order."""
        ...

    def changes(self) -> AsyncIterator[Task]:
        """Yield each task as it changes state, from now on; never drops one."""
        ...

    def observe(self, observer: TaskObserver) -> None:
        """Call `observer` at every change of state from now on, right after it.

        Nothing else happens to the task meanwhile, so it must neither raise nor take long.
        """
        ...


class Tasks(TaskReader, Protocol):
    """The life of tasks. Each method serialises with others on the same task."""

    async def create(self, request: TaskRequest) -> Task:
        """Record the task (CREATING) and let the runtime create it behind the answer.

        The outcome shows in `start` and in the record: CREATED, or STOPPED with `failure`.
        """
        ...

    async def start(self, namespace: str, id_: str) -> Task:
        """Wait until it is created, then run it.

        Raises:
            FailedPreconditionError: it is not CREATED, or the runtime refused (`failure`).
        """
        ...

    async def kill(self, namespace: str, id_: str, signal: int, *, everyone: bool = False) -> None:
        """Send `signal` to the first process, or to all; a stopped task is no error."""
        ...

    async def stop(self, namespace: str, id_: str, signal: int, grace: float) -> Task:
        """Signal, wait at most `grace` seconds, then kill; return it STOPPED.

        A second call with a shorter grace shortens the first. A process that does not die of
        SIGKILL gives an UnavailableError that says where in the kernel it hangs.
        """
        ...

    async def wait(self, namespace: str, id_: str) -> Task:
        """Return the task once it is STOPPED."""
        ...

    async def delete(self, namespace: str, id_: str) -> None:
        """Kill if need be, and remove all that is left of it; unknown ids are no error."""
        ...

    async def exec_sync(
        self, namespace: str, id_: str, argv: tuple[str, ...], *, timeout: float
    ) -> ExecOutput:
        """Run a program in a RUNNING task; see `OciRuntime.exec`."""
        ...

    def handler(self, namespace: str, id_: str) -> Handler:
        """Return the handler by which the OCI runtime knows a task.

        Raises:
            NotFoundError: there is no such task, or the configuration no longer has its handler.
        """
        ...

    def update(
        self, namespace: str, id_: str, resources: Resources
    ) -> AbstractAsyncContextManager[None]:
        """Apply new limits to a CREATED or RUNNING task: all, or none if that or the block fails.

        Waits until it is created.

        Raises:
            FailedPreconditionError: it uses more memory than it might; its state; or the runtime's
                refusal.
        """
        ...

    async def reopen_log(self, namespace: str, id_: str) -> None:
        """Make the monitor open its log file anew; see `Monitor.reopen_log`."""
        ...

    async def recover(self, *, rebooted: bool = False) -> None:
        """Once at start: find every task again, hear what ended meanwhile, go on watching.

        After a reboot nothing runs any more: every task is STOPPED, with exit code 255.
        """
        ...
