"""Events beyond what the contract says of all of them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    EventKind,
    ImageRequest,
    PodEvent,
    Sandbox,
    SandboxConfig,
    SandboxMetadata,
    SandboxState,
)
from runtime.pods import events as pod_events
from runtime.pods.events import PodEventSource
from runtime.pods.members import MemberTable
from runtime.pods.tables import SandboxTable
from runtime.spec import NamespaceMode, NamespaceModes, Security
from runtime.tasks import State, Task
from runtime.tasks.ledger import Ledger
from store.errors import ResourceExhaustedError
from store.metadata import Container
from store.metadata.records import MemoryRecords
from tests.podnode import IMAGE, NAMESPACE, Ground, daemon

POD = SandboxConfig(
    metadata=SandboxMetadata(name="web", uid="u-1", namespace="default"),
    security=Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER)),
)
CONTAINER = ContainerConfig(
    metadata=ContainerMetadata(name="main"),
    image=ImageRequest(image=IMAGE),
    command=("/bin/top",),
    security=POD.security,
)
SANDBOX = Sandbox(
    namespace=NAMESPACE,
    id="s1",
    config=POD,
    handler="crun",
    state=SandboxState.READY,
    created_at=1,
)
TASK = Task(
    namespace=NAMESPACE,
    id="c1",
    handler="crun",
    bundle=Path("/b"),
    directory=Path("/d"),
    state=State.CREATED,
)


class Tables:
    """The tables of a daemon, with one sandbox and one container in it."""

    def __init__(self) -> None:
        self.ledger = Ledger(MemoryRecords[Task]("tasks"))
        self.sandboxes = SandboxTable(MemoryRecords[Sandbox]("sandboxes"))
        self.members = MemberTable(MemoryRecords[Container]("containers"), self.ledger)
        self.source = PodEventSource(self.sandboxes, self.members, self.ledger)
        self.sandboxes.put(SANDBOX)

    def move(self, state: State) -> None:
        self.ledger.move(TASK, lambda old: replace(old, state=state))


async def kinds(source: PodEventSource, events: AsyncIterator[PodEvent]) -> list[EventKind]:
    """Return what there is to hear until the end."""
    source.close()
    return [event.kind async for event in events]


async def test_a_pause_is_no_second_start(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        container = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, container)
        events = one.events.listen(NAMESPACE)
        task = one.tasks.get(NAMESPACE, container)
        one.tasks._ledger.move(task, lambda old: replace(old, state=State.PAUSED))
        one.tasks._ledger.move(task, lambda old: replace(old, state=State.RUNNING))
        assert await kinds(one.events, events) == []


async def test_a_sandbox_that_is_lost_has_stopped_and_stops_only_once() -> None:
    tables = Tables()
    events = tables.source.listen(NAMESPACE)
    tables.sandboxes.put(replace(SANDBOX, state=SandboxState.NOTREADY, reason="lost"))
    tables.sandboxes.put(replace(SANDBOX, state=SandboxState.NOTREADY, stopped_at=5))
    assert await kinds(tables.source, events) == [EventKind.STOPPED]


async def test_a_sandbox_that_is_being_made_is_not_told_of() -> None:
    tables = Tables()
    events = tables.source.listen(NAMESPACE)
    making = replace(SANDBOX, id="s2", state=SandboxState.CREATING)
    tables.sandboxes.put(making)
    tables.sandboxes.delete(making)
    assert await kinds(tables.source, events) == []


async def test_what_could_not_be_undone_is_there_and_of_no_use() -> None:
    tables = Tables()
    events = tables.source.listen(NAMESPACE)
    making = replace(SANDBOX, id="s2", state=SandboxState.CREATING)
    tables.sandboxes.put(making)
    tables.sandboxes.put(replace(making, state=SandboxState.NOTREADY, reason="mounts are left"))
    assert await kinds(tables.source, events) == [EventKind.CREATED, EventKind.STOPPED]


async def test_tasks_that_are_no_containers_are_not_told_of() -> None:
    tables = Tables()
    events = tables.source.listen(NAMESPACE)
    tables.ledger.add(TASK)
    tables.move(State.RUNNING)
    assert await kinds(tables.source, events) == []


async def test_namespaces_do_not_hear_each_other() -> None:
    tables = Tables()
    others = tables.source.listen("other")
    tables.sandboxes.put(replace(SANDBOX, namespace="other", id="s2"))
    tables.sandboxes.put(replace(SANDBOX, id="s3"))
    assert await kinds(tables.source, others) == [EventKind.CREATED, EventKind.STARTED]


async def test_a_slow_listener_hears_that_it_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_events, "BACKLOG", 3)
    tables = Tables()
    slow = tables.source.listen(NAMESPACE)
    for number in range(5):
        tables.sandboxes.put(replace(SANDBOX, id=f"more-{number}"))
    assert [(await anext(slow)).id for _ in range(3)] == ["more-0", "more-0", "more-1"]
    with pytest.raises(ResourceExhaustedError, match="list again"):
        await anext(slow)


async def test_listeners_after_the_end_hear_the_end() -> None:
    tables = Tables()
    tables.source.close()
    assert [event async for event in tables.source.listen(NAMESPACE)] == []
    assert [event async for event in tables.source.listen("other")] == []
