"""The containers of this node in memory: metadata record, CRI's extension, and status.

A status is made once for each change of record or task, so that lists hand out the same objects
and whoever keeps something derived from them can tell by identity that it is still good.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerStatus,
    ImageRequest,
    PodContainer,
)
from runtime.pods.status import status
from runtime.pods.tables import Key, full_id
from runtime.spec import ProcessUser, Resources
from runtime.tasks import State, Task, TaskReader
from store.metadata import Container, Records

EXTENSION: Final = "io.ferry.cri.container"
"""The extension of a container record that holds its `PodContainer`, as JSON."""

_NOWHERE: Final = Path()


@dataclass(slots=True)
class Member:
    """One container: its id and both halves of its record, with the status last made."""

    namespace: str
    id: str
    created_at: int
    pod: PodContainer
    task: Task | None = None
    status: ContainerStatus | None = None


class MemberTable:
    """Every container that belongs to a sandbox, ordered as they were made."""

    def __init__(self, records: Records[Container], tasks: TaskReader) -> None:
        self._records = records
        self._tasks = tasks
        self._all: dict[Key, Member] = {}
        self._by_sandbox: dict[Key, dict[str, Member]] = {}
        self._observers: list[Callable[[Member], None]] = []
        rows = [
            (record.created_at, id_, namespace, record)
            for namespace, id_, record in records.walk()
            if EXTENSION in record.extensions
        ]
        for _, id_, namespace, record in sorted(rows, key=lambda row: row[:2]):
            self._remember(Member(namespace, id_, record.created_at, _decode(id_, record)))
        for bad in records.quarantined():
            pod = _unknown(bad.id, f"its record is damaged: {bad.reason}")
            self._remember(Member(bad.namespace, bad.id, 0, pod))

    def observe_deletion(self, observer: Callable[[Member], None]) -> None:
        """Call `observer` right after a container was forgotten, from now on; it must not raise."""
        self._observers.append(observer)

    def add(self, namespace: str, id_: str, record: Container, pod: PodContainer) -> None:
        """Commit a new container."""
        extended = replace(record, extensions={EXTENSION: msgspec.json.encode(pod)})
        self._records.add(namespace, id_, extended)
        self._remember(Member(namespace, id_, record.created_at, pod))

    def change(self, member: Member, pod: PodContainer) -> None:
        """Commit a change of CRI's half."""
        encoded = msgspec.json.encode(pod)
        self._records.update(
            member.namespace,
            member.id,
            lambda record: replace(record, extensions={**record.extensions, EXTENSION: encoded}),
        )
        member.pod, member.status = pod, None

    def delete(self, member: Member) -> None:
        """Forget a container."""
        self._records.delete(member.namespace, member.id)
        self._all.pop((member.namespace, member.id), None)
        siblings = self._by_sandbox.get((member.namespace, member.pod.sandbox_id), {})
        siblings.pop(member.id, None)
        if not siblings:
            self._by_sandbox.pop((member.namespace, member.pod.sandbox_id), None)
        for observer in self._observers:
            observer(member)

    def forget(self, namespace: str, id_: str) -> None:
        """Forget a container of which perhaps only the record on disk exists."""
        member = self._all.get((namespace, id_))
        if member is not None:
            self.delete(member)
        else:
            self._records.delete(namespace, id_)

    def get(self, namespace: str, id_: str) -> Member:
        """Return a container by id or unique prefix, or raise NotFoundError."""
        return self._all[namespace, full_id(self._all, namespace, id_, "container")]

    def find(self, namespace: str, id_: str) -> Member | None:
        """Return the container with exactly this id, or None."""
        return self._all.get((namespace, id_))

    def of(self, namespace: str, sandbox_id: str) -> list[Member]:
        """Return the containers of one sandbox, oldest first."""
        return list(self._by_sandbox.get((namespace, sandbox_id), {}).values())

    def walk(self, namespace: str | None = None) -> Iterator[Member]:
        """Yield every container of a namespace, or of all, oldest first."""
        return (m for m in list(self._all.values()) if namespace in {None, m.namespace})

    def status(self, member: Member) -> ContainerStatus:
        """Return the status as of now; the same object as long as nothing changed.

        One that is being removed keeps the last it had.
        """
        task = self._tasks.find(member.namespace, member.id)
        leaving = task is None and member.task is not None
        if member.status is None or (task is not member.task and not leaving):
            member.task = task
            member.status = status(
                member.id, member.created_at, member.pod, task or _no_task(member)
            )
        return member.status

    def _remember(self, member: Member) -> None:
        self._all[member.namespace, member.id] = member
        key = (member.namespace, member.pod.sandbox_id)
        self._by_sandbox.setdefault(key, {})[member.id] = member


def _decode(id_: str, record: Container) -> PodContainer:
    try:
        return msgspec.json.decode(record.extensions[EXTENSION], type=PodContainer)
    except msgspec.DecodeError as error:
        return _unknown(id_, f"its record is damaged: {error}", record.sandbox_id)


def _unknown(id_: str, reason: str, sandbox_id: str = "") -> PodContainer:
    return PodContainer(
        sandbox_id=sandbox_id,
        config=ContainerConfig(
            metadata=ContainerMetadata(name=f"damaged-{id_[:12]}"), image=ImageRequest(image="")
        ),
        image_id="",
        image_ref="",
        image_name="",
        log_path="",
        stop_signal="SIGTERM",
        user=ProcessUser(),
        resources=Resources(),
        damage=reason,
    )


def _no_task(member: Member) -> Task:
    reason = member.pod.damage or "its task record is missing"
    return Task(
        namespace=member.namespace,
        id=member.id,
        handler="",
        bundle=_NOWHERE,
        directory=_NOWHERE,
        state=State.UNKNOWN,
        message=reason,
    )
