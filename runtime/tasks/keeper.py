"""What goes on behind the answers: creating, waiting for ends, and clearing up after them."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from runtime import orphans
from runtime.cgroups import Cgroups
from runtime.monitor import Exit, Monitor, Monitored, MonitorRequest
from runtime.oci import Handler, OciRuntime
from runtime.operations import Operations, stage
from runtime.tasks import State, Task, states
from runtime.tasks.jobs import Jobs
from runtime.tasks.ledger import Change, Ledger
from runtime.tasks.live import Live
from runtime.tasks.processes import KernelProcesses, Processes
from store.errors import Error, FailedPreconditionError, NotFoundError

_log = logging.getLogger(__name__)

# How long a start may go on after the process it was to start has ended.
_START_GRACE: Final = 1.0
# How long creates that are under way may take when the daemon stops.
_DRAIN: Final = 10.0
# The exit code of what SIGKILL ended.
_KILLED: Final = 128 + signal.SIGKILL
# How often an end is recorded anew while the disk refuses.
_RETRY: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What tasks are made of.

    `handlers` by name, each with the runtime's root, below which every namespace gets its own.
    `root` is where tasks keep their directories. `creates` bounds how many runtimes create at once.
    """

    monitor: Monitor
    runtime: OciRuntime
    cgroups: Cgroups
    handlers: Mapping[str, Handler]
    root: Path
    operations: Operations
    processes: Processes = field(default_factory=KernelProcesses)
    creates: int = 2 * (os.cpu_count() or 1)
    now: Callable[[], int] = time.time_ns


class Keeper:
    """Owns every background job of tasks; leaving the block ends them and leaves the tasks be."""

    def __init__(self, parts: Parts, ledger: Ledger) -> None:
        self.parts = parts
        self.ledger = ledger
        self._lives: dict[tuple[str, str], Live] = {}
        self._turns = asyncio.Semaphore(parts.creates)
        self._sweeps = asyncio.Semaphore(parts.creates)
        self.jobs = Jobs()

    async def __aenter__(self) -> Self:
        await self.jobs.__aenter__()
        self.jobs.spawn(orphans.sweep(), "reap orphans")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        creations = [live.creation for live in self._lives.values() if live.creation is not None]
        await self.jobs.drain(creations, _DRAIN)
        await self.jobs.__aexit__(kind, error, trace)

    def live(self, task: Task) -> Live:
        """Return what is held of a task; made on first use."""
        return self._lives.setdefault((task.namespace, task.id), Live())

    def forget(self, task: Task) -> None:
        """Remove the record and what is held beside it."""
        self.ledger.forget(task)
        self._lives.pop((task.namespace, task.id), None)

    def handler(self, task: Task) -> Handler:
        """Return the task's handler with a root of its namespace's own, so that ids may repeat.

        Raises:
            NotFoundError: the configuration no longer has it.
        """
        handler = self.parts.handlers.get(task.handler)
        if handler is None:
            raise NotFoundError(f"cannot find handler {task.handler!r} of task {task.id}")
        return replace(handler, root=handler.root / task.namespace)

    def request(self, task: Task, name: str = "") -> MonitorRequest:
        """Return the monitor's view of a task."""
        return MonitorRequest(
            namespace=task.namespace,
            container_id=task.id,
            name=name,
            bundle=task.bundle,
            directory=task.directory,
            handler=self.handler(task),
            log_path=task.log_path,
            terminal=task.terminal,
            stdin=task.stdin,
            stdin_once=task.stdin_once,
        )

    def create(self, task: Task, request: MonitorRequest) -> None:
        """Let the runtime create a CREATING task; its record tells the outcome."""
        live = self.live(task)
        live.creation = self.jobs.job(self._create(task, request, live), f"create {task.id}")

    async def create_again(self, task: Task) -> None:
        """Create a task whose first create was cut off, once what is left of that is gone."""
        request = self.request(task, task.id)
        try:
            await self.clean(task)
            self.live(task).cleaned = False
            await asyncio.to_thread(_start_over, request)
            self.parts.monitor.prepare(request)
        except (Error, OSError) as error:
            await self.fail(task, f"cannot create container {task.id} again: {error}")
        else:
            self.create(task, request)

    async def _create(self, task: Task, request: MonitorRequest, live: Live) -> None:
        with self.parts.operations.begin("create task", task.id) as operation:
            live.operation = operation
            try:
                stage("wait for a turn", task.id)
                async with self._turns:
                    self.created(task, await self.parts.monitor.create(request))
            except Exception as error:  # noqa: BLE001 - whatever it is, the record must tell
                if not isinstance(error, Error):
                    _log.exception("cannot create task %s", task.id)
                await self.fail(task, str(error) or repr(error))
            finally:
                live.creation = live.operation = None

    def created(self, task: Task, monitored: Monitored) -> None:
        """Record that a task is CREATED, and watch it from now on."""
        now = self.parts.now()
        _ = self.watch(self.ledger.move(task, lambda old: states.created(old, monitored, now)))

    async def fail(self, task: Task, why: str) -> None:
        """Record that a task could not be created or started, and clear up."""
        now = self.parts.now()
        self.conclude(task, lambda old: states.failed(old, why, now))
        await self.clean(task)

    def watch(self, task: Task) -> asyncio.Task[None]:
        """Wait for the task's end, in whatever state it is, and record it."""
        self.live(task).settled.set()
        return self.jobs.job(self._watch(task), f"watch {task.id}")

    async def _watch(self, task: Task) -> None:
        try:
            ended = await self._ended(task)
        except Exception as error:
            why = f"cannot watch it any more: {error}"
            _ = self.ledger.move(task, lambda old: states.unknown(old, why))
            raise
        if self.ledger.find(task.namespace, task.id) is None:
            return
        live = self.live(task)
        if live.starting is not None:
            live.starting.reschedule(asyncio.get_running_loop().time() + _START_GRACE)
        async with live.lock:
            if not live.ended.is_set():
                self.conclude(task, await self._change(task, ended))
        await self.clean(task)

    async def _ended(self, task: Task) -> Exit | None:
        if task.process is None or task.monitor is None:
            raise NotFoundError("its process is not known")
        monitored = Monitored(process=task.process, monitor=task.monitor)
        return await self.parts.monitor.wait(self.request(task), monitored)

    async def _change(self, task: Task, ended: Exit | None) -> Change:
        """Return the move for an end."""
        if ended is None:
            now = self.parts.now()
            why = "its monitor was killed before it could tell how it ended"
            return lambda old: states.lost(old, why, now)
        told = replace(ended, oom=await self._oom(task, ended))
        return lambda old: states.exited(old, told)

    async def _oom(self, task: Task, ended: Exit) -> bool:
        """Tell whether the kernel killed for memory, from its counter while there is a cgroup.

        systemd removes a scope, and the counter with it, as soon as it is empty: then the kernel's
        log tells, and at last the monitor, which also marks limits that were only reached.
        """
        counted = self.parts.cgroups.oom_kills(task.cgroup) if task.cgroup else None
        if counted is not None or task.process is None:
            return bool(counted)
        ours = self.live(task).stop is not None
        if not ended.oom and (ended.code != _KILLED or ours):
            return False
        logged = await asyncio.to_thread(
            self.parts.processes.killed_for_memory, task.process, task.cgroup
        )
        return ended.oom if logged is None else logged

    def conclude(self, task: Task, change: Change) -> Task:
        """Record the end of a task and let everybody know; return it STOPPED.

        While the disk refuses that is tried again behind the answer: what has ended can be
        deleted all the same.
        """
        try:
            ended = self.ledger.move(task, change)
        except (NotFoundError, FailedPreconditionError):  # forgotten, or STOPPED before
            raise
        except Error as error:
            _log.warning("cannot record the end of task %s: %s", task.id, error)
            ended = change(self.ledger.get(task.namespace, task.id))
            self.jobs.spawn(self._conclude_later(task, change), f"record the end of {task.id}")
        self.end(ended)
        return ended

    async def _conclude_later(self, task: Task, change: Change) -> None:
        while True:
            await asyncio.sleep(_RETRY)
            current = self.ledger.find(task.namespace, task.id)
            if current is None or current.state is State.STOPPED:
                return
            with contextlib.suppress(Error):
                _ = self.ledger.move(task, change)

    def end(self, task: Task) -> None:
        """Let everybody know that a task's record says STOPPED."""
        live = self.live(task)
        live.final = task
        live.settled.set()
        live.ended.set()

    async def clean(self, task: Task) -> None:
        """Remove what the runtime and the kernel still keep of a stopped task; idempotent.

        Raises:
            Error: something is left; call again later.
        """
        live = self.live(task)
        async with live.cleaning:
            if live.cleaned:
                return
            if task.cgroup and self.parts.cgroups.pids(task.cgroup):  # of a shared PID namespace
                await self.kill_cgroup(task)
            if task.handler in self.parts.handlers:
                async with self._sweeps:
                    await self._delete(task)
            if task.cgroup:
                await asyncio.to_thread(self.parts.cgroups.remove, task.cgroup)
            live.cleaned = True

    async def _delete(self, task: Task) -> None:
        """Delete without force first: `runc delete --force` sleeps 100 ms whatever it finds."""
        handler = self.handler(task)
        try:
            await self.parts.runtime.delete(handler, task.id)
        except Error:
            await self.parts.runtime.delete(handler, task.id, force=True)

    async def kill_cgroup(self, task: Task) -> None:
        """SIGKILL whatever is in the task's cgroup; a task without one has nothing there."""
        if task.cgroup:
            await asyncio.to_thread(self.parts.cgroups.kill, task.cgroup)


def _start_over(request: MonitorRequest) -> None:
    """Forget what an earlier monitor wrote: it is another one's exit code and another's FIFOs."""
    shutil.rmtree(request.directory, ignore_errors=True)
    request.directory.mkdir(mode=0o700, parents=True)
    for name in ("attach", "ctl", "winsz"):
        (request.bundle / name).unlink(missing_ok=True)
