"""Containers' streams, by the records of their tasks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.io import AttachRequest, ExecRequest, Session
from runtime.io.attach import Attachments
from runtime.io.execs import Execs
from runtime.tasks import State, Task, Tasks
from store.errors import FailedPreconditionError


class ContainerSessions:
    """Implements `Sessions`. `close` lets go of the monitors."""

    def __init__(self, tasks: Tasks, execs: Execs) -> None:
        self._tasks = tasks
        self._execs = execs
        self._attachments = Attachments()

    @asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[Session]:
        """See `Sessions.exec`."""
        task = self._running("exec in", request.namespace, request.container_id)
        handler = self._tasks.handler(task.namespace, task.id)
        async with self._execs.run(handler, request) as session:
            yield session

    @asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[Session]:
        """See `Sessions.attach`."""
        task = self._running("attach to", request.namespace, request.container_id)
        if task.terminal is not request.wanted.terminal:
            has = "has a" if task.terminal else "has no"
            raise FailedPreconditionError(
                f"cannot attach to container {task.id}: tty does not fit, the container {has} tty"
            )
        async with self._attachments.attach(task, request.wanted) as session:
            yield session

    def close(self) -> None:
        """Let go of every monitor."""
        self._attachments.close()

    def _running(self, what: str, namespace: str, id_: str) -> Task:
        task = self._tasks.get(namespace, id_)
        if task.state is not State.RUNNING:
            raise FailedPreconditionError(
                f"cannot {what} container {id_}: it is {task.state.value}, not running"
            )
        return task
