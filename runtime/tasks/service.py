"""Tasks: create, start, signal, stop, wait, delete.

Each move is made under the task's lock and recorded before anyone sees it; nobody holds the lock
while waiting for a process. So a container that hangs keeps nobody but those who wait for it, and
a second stop can always shorten the first.
"""

import asyncio
import contextlib
import shutil
import signal as signals
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from runtime.oci import ExecOutput, Handler
from runtime.operations import follow
from runtime.rollback import Rollback
from runtime.spec import Resources
from runtime.tasks import State, Task, TaskObserver, TaskRequest, states
from runtime.tasks.keeper import Keeper, Parts
from runtime.tasks.ledger import Ledger
from runtime.tasks.limits import limited
from runtime.tasks.live import Live
from runtime.tasks.processes import signal_group
from runtime.tasks.recovery import Recovery
from runtime.tasks.stopping import Stopper
from store.errors import Error, FailedPreconditionError, InvalidArgumentError
from store.metadata import Records

EXEC_LIMIT: Final = 16 << 20


class TaskService:
    """Implements `Tasks`; an async context manager that owns all background work.

    Leaving the block leaves every container running.
    """

    def __init__(self, records: Records[Task], parts: Parts) -> None:
        self._parts = parts
        self._ledger = Ledger(records)
        self._keeper = Keeper(parts, self._ledger)
        self._stopper = Stopper(self._keeper)

    async def __aenter__(self) -> Self:
        await self._keeper.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._keeper.__aexit__(kind, error, trace)

    def get(self, namespace: str, id_: str) -> Task:
        """See `TaskReader.get`."""
        return self._ledger.get(namespace, id_)

    def find(self, namespace: str, id_: str) -> Task | None:
        """See `TaskReader.find`."""
        return self._ledger.find(namespace, id_)

    def walk(self, namespace: str | None = None) -> list[Task]:
        """See `TaskReader.walk`."""
        return self._ledger.walk(namespace)

    def changes(self) -> AsyncIterator[Task]:
        """See `TaskReader.changes`."""
        return self._ledger.changes()

    def observe(self, observer: TaskObserver) -> None:
        """See `TaskReader.observe`."""
        self._ledger.observe(observer)

    async def create(self, request: TaskRequest) -> Task:
        """See `Tasks.create`.

        Raises:
            AlreadyExistsError: there is a task of this id.
            InvalidArgumentError: the id, the namespace, the handler or the log path cannot be.
        """
        task = self._new(request)
        asked = self._keeper.request(task, request.name)
        async with Rollback() as undo:
            self._ledger.add(task)
            undo.push("forget the task", self._keeper.forget, task)
            task.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            undo.push("remove its directory", shutil.rmtree, task.directory)
            self._parts.monitor.prepare(asked)
            undo.keep()
        self._keeper.create(task, asked)
        return task

    def _new(self, request: TaskRequest) -> Task:
        if request.handler not in self._parts.handlers:
            raise InvalidArgumentError(f"cannot create task: handler {request.handler!r} unknown")
        return Task(
            namespace=request.namespace,
            id=request.id,
            handler=request.handler,
            bundle=request.bundle,
            directory=_inside(self._parts.root, request.namespace, request.id),
            state=State.CREATING,
            cgroup=request.cgroup,
            log_path=request.log_path,
            terminal=request.terminal,
            stdin=request.stdin,
            stdin_once=request.stdin_once,
            created_at=self._parts.now(),
        )

    async def start(self, namespace: str, id_: str) -> Task:
        """See `Tasks.start`; once begun it goes on to its end even if the caller leaves."""
        task = self.get(namespace, id_)
        live = await self._settled(task)
        return await self._keeper.jobs.complete(self._start(task, live), f"start {id_}")

    async def _settled(self, task: Task) -> Live:
        """Wait until it is known whether the task could be created."""
        live = self._keeper.live(task)
        if not live.settled.is_set():
            follow(live.operation)
            await live.settled.wait()
        return live

    async def _start(self, task: Task, live: Live) -> Task:
        async with live.lock:
            task = self.get(task.namespace, task.id)
            if task.failure:
                raise FailedPreconditionError(task.failure)
            states.to(task, State.RUNNING)
            now = self._parts.now()
            try:
                await self._let_go(task, live)
            except Error as error:
                await self._keeper.fail(task, str(error))
                raise FailedPreconditionError(str(error)) from error
            return self._ledger.move(task, lambda old: states.running(old, now))

    async def _let_go(self, task: Task, live: Live) -> None:
        """Run the runtime's start; cut it short if the process ends first.

        A start that an earlier daemon began may still have come to its end: then there is nothing
        left to start, and that is no failure.
        """
        handler = self._keeper.handler(task)
        try:
            async with asyncio.timeout(None) as live.starting:
                await self._parts.runtime.start(handler, task.id)
        except TimeoutError as error:
            raise FailedPreconditionError(
                f"cannot start container {task.id}: its process ended before it was started"
            ) from error
        except FailedPreconditionError:
            alive = task.process is not None and self._parts.processes.send(task.process, 0)
            if not alive or not self._parts.runtime.started(handler, task.id):
                raise
        finally:
            live.starting = None

    async def kill(self, namespace: str, id_: str, signal: int, *, everyone: bool = False) -> None:
        """See `Tasks.kill`."""
        task = self.get(namespace, id_)
        if task.state in (State.CREATING, State.STOPPED):
            return
        if everyone and signal == signals.SIGKILL:
            await self._keeper.kill_cgroup(task)
        elif everyone and task.cgroup:
            pids = partial(self._parts.cgroups.pids, task.cgroup)
            await asyncio.to_thread(signal_group, pids, signal)
        elif task.process is not None:
            self._parts.processes.send(task.process, signal)

    async def stop(self, namespace: str, id_: str, signal: int, grace: float) -> Task:
        """See `Tasks.stop`."""
        return await self._stopper.stop(self.get(namespace, id_), signal, grace)

    async def wait(self, namespace: str, id_: str) -> Task:
        """See `Tasks.wait`."""
        task = self.get(namespace, id_)
        live = self._keeper.live(task)
        await live.ended.wait()
        return live.final or task

    async def delete(self, namespace: str, id_: str) -> None:
        """See `Tasks.delete`; goes on to its end even if the caller leaves."""
        task = self.find(namespace, id_)
        if task is not None:
            await self._keeper.jobs.complete(self._delete(task), f"delete {id_}")

    async def _delete(self, task: Task) -> None:
        async with self._keeper.live(task).removing:
            if self.find(task.namespace, task.id) is None:
                return
            stopped = await self._stopper.stop(task, signals.SIGKILL, 0)
            await self._keeper.clean(stopped)
            await asyncio.to_thread(_remove_directory, stopped.directory)
            self._keeper.forget(stopped)

    async def exec_sync(
        self, namespace: str, id_: str, argv: tuple[str, ...], *, timeout: float
    ) -> ExecOutput:
        """See `Tasks.exec_sync`; each stream is cut at 16 MiB."""
        task = self._in(namespace, id_, State.RUNNING)
        if not argv:
            raise InvalidArgumentError(f"cannot exec in task {id_}: cmd is empty")
        return await self._parts.runtime.exec(
            self._keeper.handler(task), id_, argv, timeout=timeout, limit=EXEC_LIMIT
        )

    def handler(self, namespace: str, id_: str) -> Handler:
        """See `Tasks.handler`."""
        return self._keeper.handler(self.get(namespace, id_))

    @asynccontextmanager
    async def update(self, namespace: str, id_: str, resources: Resources) -> AsyncIterator[None]:
        """See `Tasks.update`."""
        await self._settled(self.get(namespace, id_))
        task = self._in(namespace, id_, State.CREATED, State.RUNNING)
        handler = self._keeper.handler(task)
        apply = partial(self._parts.runtime.update, handler, id_, resources)
        async with limited(self._parts.cgroups, task, resources, apply):
            yield

    async def reopen_log(self, namespace: str, id_: str) -> None:
        """See `Tasks.reopen_log`."""
        task = self._in(namespace, id_, State.CREATED, State.RUNNING, State.PAUSED)
        await self._parts.monitor.reopen_log(self._keeper.request(task))

    async def recover(self, *, rebooted: bool = False) -> None:
        """See `Tasks.recover`."""
        await Recovery(self._keeper).run(rebooted=rebooted)

    def _in(self, namespace: str, id_: str, *allowed: State) -> Task:
        """Return the task if it is in one of these states."""
        task = self.get(namespace, id_)
        if task.state not in allowed:
            wanted = " or ".join(state.value for state in allowed)
            raise FailedPreconditionError(
                f"task {id_} is {task.state.value}, this needs it {wanted}"
            )
        return task


def _inside(root: Path, *names: str) -> Path:
    """Return the path below `root`; a name that would lead elsewhere is refused."""
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InvalidArgumentError(f"cannot create task: {name!r} is no namespace or id")
    return root.joinpath(*names)


def _remove_directory(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
