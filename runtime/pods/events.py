"""What happens to pods and their containers, told in the order in which it happens.

Every change of a record goes through the tables and the ledger of tasks, and each of them calls
here before anything else can happen: an event shows the pod as it was then, and no two of one
container are ever in the wrong order. Statuses are values that change anew with each change, so
an event costs nothing but their list, and that only if somebody listens.
"""

import time
from collections.abc import AsyncIterator
from typing import Final

from runtime.events import Broadcast
from runtime.pods import EventKind, PodEvent, Sandbox, SandboxState
from runtime.pods.members import Member, MemberTable
from runtime.pods.tables import SandboxTable
from runtime.tasks import State, Task, TaskReader

BACKLOG: Final = 4096
"""Events that wait for one listener before it is given up."""

_AGAIN: Final = frozenset({State.PAUSED, State.UNKNOWN})


class PodEventSource:
    """Implements `runtime.pods.PodEvents`; made once, before anything else uses its sources."""

    def __init__(self, sandboxes: SandboxTable, members: MemberTable, tasks: TaskReader) -> None:
        self._sandboxes = sandboxes
        self._members = members
        self._listeners: dict[str, Broadcast[PodEvent]] = {}
        self._closed = False
        sandboxes.observe(self._sandbox)
        members.observe_deletion(self._deleted)
        tasks.observe(self._task)

    def listen(self, namespace: str) -> AsyncIterator[PodEvent]:
        """See `PodEvents.listen`."""
        broadcast = self._listeners.setdefault(namespace, Broadcast())
        if self._closed:
            broadcast.close()
        return broadcast.subscribe(BACKLOG)

    def close(self) -> None:
        """End all listeners, behind what they have not heard yet; new ones end at once."""
        self._closed = True
        for broadcast in self._listeners.values():
            broadcast.close()

    def _sandbox(self, before: Sandbox | None, after: Sandbox | None) -> None:
        was, now = _shown(before), _shown(after)
        sandbox = now or was
        if sandbox is None:
            return
        if was is None:
            self._tell(EventKind.CREATED, sandbox.id, sandbox)
        if now is None:
            self._tell(EventKind.DELETED, sandbox.id, sandbox)
        elif now.state is SandboxState.READY and (was is None or was.state is not now.state):
            self._tell(EventKind.STARTED, sandbox.id, sandbox)
        elif now.state is SandboxState.NOTREADY and (was is None or was.state is not now.state):
            self._tell(EventKind.STOPPED, sandbox.id, sandbox)

    def _task(self, before: Task | None, after: Task) -> None:
        kind = _kind(before, after)
        member = self._members.find(after.namespace, after.id)
        if kind is not None and member is not None:
            self._tell_of(kind, member)

    def _deleted(self, member: Member) -> None:
        self._tell_of(EventKind.DELETED, member)

    def _tell_of(self, kind: EventKind, member: Member) -> None:
        sandbox = self._sandboxes.find(member.namespace, member.pod.sandbox_id)
        if sandbox is not None:
            self._tell(kind, member.id, sandbox)

    def _tell(self, kind: EventKind, id_: str, sandbox: Sandbox) -> None:
        broadcast = self._listeners.get(sandbox.namespace)
        if not broadcast:
            return
        members = self._members.of(sandbox.namespace, sandbox.id)
        broadcast.publish(
            PodEvent(
                kind=kind,
                id=id_,
                at=time.time_ns(),
                sandbox=sandbox,
                containers=tuple(self._members.status(member) for member in members),
            )
        )


def _shown(sandbox: Sandbox | None) -> Sandbox | None:
    """Return a sandbox that clients can see."""
    return None if sandbox is None or sandbox.state is SandboxState.CREATING else sandbox


def _kind(before: Task | None, after: Task) -> EventKind | None:
    """Return what a move of a task is to CRI; nothing while a client would see no difference."""
    if before is None:
        return EventKind.CREATED
    if after.state is State.STOPPED:
        return EventKind.STOPPED
    started = after.state is State.RUNNING and before.state not in _AGAIN
    return EventKind.STARTED if started else None
