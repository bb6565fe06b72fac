"""Pods that run nowhere: records in memory that move as the contract says."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar

from runtime.events import Broadcast
from runtime.oci import ExecOutput
from runtime.pods import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    EventKind,
    Filter,
    PodContainer,
    PodEvent,
    Sandbox,
    SandboxConfig,
    SandboxState,
)
from runtime.spec import ProcessUser, Resources
from store.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)

T = TypeVar("T")

HANDLERS = ("", "crun", "runc")


def _labelled(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    return wanted.items() <= labels.items()


def _only(found: list[T], what: str) -> T:
    if not found:
        raise NotFoundError(f"{what} is not there")
    if len(found) > 1:
        raise InvalidArgumentError(f"cannot tell which {what} is")
    return found[0]


class FakeEvents:
    """Implements `PodEvents`; `backlog` is how much waits for a listener."""

    def __init__(self) -> None:
        self.backlog = 1000
        self.broadcast: Broadcast[PodEvent] = Broadcast()

    def listen(self, namespace: str) -> AsyncIterator[PodEvent]:
        del namespace
        return self.broadcast.subscribe(self.backlog)


class FakeSandboxes:
    """Keeps sandboxes and their `containers`; `calls` lists what was asked, in order.

    `used` is what each pod has in memory.
    """

    def __init__(self) -> None:
        self.events = FakeEvents()
        self.used = 4096
        self.kept: dict[tuple[str, str], Sandbox] = {}
        self.calls: list[tuple[str, ...]] = []
        self.containers = FakeContainers(self)
        self._made = 0

    async def run(self, namespace: str, config: SandboxConfig, handler: str) -> str:
        if handler not in HANDLERS:
            raise InvalidArgumentError(f"runtime_handler: there is no handler {handler!r}")
        self._made += 1
        id_ = f"{self._made:064x}"[::-1]
        self.calls.append(("run", id_))
        self.kept[namespace, id_] = Sandbox(
            namespace=namespace,
            id=id_,
            config=config,
            handler=handler or "crun",
            state=SandboxState.READY,
            created_at=self._made,
            addresses=("10.88.0.2",),
        )
        self.tell(self.kept[namespace, id_], id_, EventKind.CREATED)
        self.tell(self.kept[namespace, id_], id_, EventKind.STARTED)
        return id_

    async def stop(self, namespace: str, id_: str) -> None:
        self.calls.append(("stop", id_))
        if (namespace, id_) in self.kept:
            old = self.kept[namespace, id_]
            self.kept[namespace, id_] = replace(old, state=SandboxState.NOTREADY, addresses=())
            for status in self._members(namespace, id_):
                await self.containers.stop(namespace, status.id, 0)
            if old.state is SandboxState.READY:
                self.tell(self.kept[namespace, id_], id_, EventKind.STOPPED)

    async def remove(self, namespace: str, id_: str) -> None:
        self.calls.append(("remove", id_))
        if sandbox := self.kept.get((namespace, id_)):
            await self.stop(namespace, id_)
            self.calls.pop()
            for status in self._members(namespace, id_):
                await self.containers.remove(namespace, status.id)
            del self.kept[namespace, id_]
            self.tell(sandbox, id_, EventKind.DELETED)

    async def resize(
        self, namespace: str, id_: str, *, overhead: Resources | None, resources: Resources | None
    ) -> None:
        sandbox = self.get(namespace, id_)
        if sandbox.state is not SandboxState.READY:
            raise FailedPreconditionError(f"sandbox {id_} is not ready")
        if resources and 0 < resources.memory_limit < self.used:
            raise FailedPreconditionError(f"sandbox {id_} uses {self.used} bytes")
        self.kept[namespace, sandbox.id] = replace(
            sandbox,
            overhead=sandbox.overhead if overhead is None else overhead,
            resources=sandbox.resources if resources is None else resources,
        )

    def tell(self, sandbox: Sandbox, id_: str, kind: EventKind) -> None:
        """Let everybody who listens know."""
        now = self.kept.get((sandbox.namespace, sandbox.id), sandbox)
        event = PodEvent(
            kind=kind,
            id=id_,
            at=time.time_ns(),
            sandbox=now,
            containers=tuple(self._members(sandbox.namespace, sandbox.id)),
        )
        self.events.broadcast.publish(event)

    def _members(self, namespace: str, id_: str) -> list[ContainerStatus]:
        return self.containers.list(namespace, Filter(sandbox_id=id_))

    def get(self, namespace: str, id_: str) -> Sandbox:
        return _only(self.list(namespace, Filter(id=id_)), f"sandbox {id_}")

    def list(self, namespace: str, filter_: Filter) -> list[Sandbox]:
        return [
            sandbox
            for (owner, _), sandbox in self.kept.items()
            if owner == namespace
            and sandbox.id.startswith(filter_.id)
            and filter_.state in {"", sandbox.state.value}
            and _labelled(dict(sandbox.config.labels), dict(filter_.labels))
        ]


class FakeContainers:
    """Keeps containers of the sandboxes of `sandboxes`; `false` fails in it, `sleep` hangs."""

    def __init__(self, sandboxes: "FakeSandboxes") -> None:
        self.kept: dict[tuple[str, str], ContainerStatus] = {}
        self.calls: list[tuple[str, ...]] = []
        self._sandboxes = sandboxes
        self._made = 0

    async def create(self, namespace: str, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandboxes.get(namespace, sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise FailedPreconditionError(f"sandbox {sandbox.id} is not ready")
        self._made += 1
        id_ = f"c{self._made:063x}"[::-1]
        container = PodContainer(
            sandbox_id=sandbox.id,
            config=config,
            image_id=config.image.image,
            image_ref=f"example.org/image@{config.image.image}",
            image_name="example.org/image:latest",
            log_path=config.log_path and f"{sandbox.config.log_directory}/{config.log_path}",
            stop_signal=config.stop_signal or "SIGTERM",
            user=ProcessUser(),
            resources=config.resources,
        )
        self.kept[namespace, id_] = ContainerStatus(
            id=id_, container=container, state=ContainerState.CREATED, created_at=self._made
        )
        self._sandboxes.tell(sandbox, id_, EventKind.CREATED)
        return id_

    async def start(self, namespace: str, id_: str) -> None:
        status = self.get(namespace, id_)
        if status.state is not ContainerState.CREATED:
            raise FailedPreconditionError(f"container {id_} is {status.state.value}")
        self._put(namespace, replace(status, state=ContainerState.RUNNING, started_at=1, pid=42))
        self._tell(namespace, status, EventKind.STARTED)

    async def stop(self, namespace: str, id_: str, grace: float) -> None:
        self.calls.append(("stop", id_, f"{grace:g}"))
        status = self.kept.get((namespace, id_))
        if status and status.state is not ContainerState.EXITED:
            stopped = replace(status, state=ContainerState.EXITED, finished_at=2, exit_code=137)
            self._put(namespace, stopped)
            self._tell(namespace, status, EventKind.STOPPED)

    async def remove(self, namespace: str, id_: str) -> None:
        self.calls.append(("remove", id_))
        if status := self.kept.get((namespace, id_)):
            await self.stop(namespace, id_, 0)
            self.calls.pop()
            del self.kept[namespace, id_]
            self._tell(namespace, status, EventKind.DELETED)

    async def exec_sync(
        self, namespace: str, id_: str, argv: tuple[str, ...], timeout: float
    ) -> ExecOutput:
        if self.get(namespace, id_).state is not ContainerState.RUNNING:
            raise FailedPreconditionError(f"container {id_} does not run")
        if argv[0] == "sleep" and timeout:
            raise DeadlineExceededError(f"{argv[0]} took longer than {timeout:g} s")
        said = b" ".join(word.encode() for word in argv)
        return ExecOutput(stdout=said, stderr=b"", exit_code=3 if argv[0] == "false" else 0)

    async def update(self, namespace: str, id_: str, resources: Resources) -> None:
        status = self.get(namespace, id_)
        container = replace(status.container, resources=resources)
        self._put(namespace, replace(status, container=container))

    async def reopen_log(self, namespace: str, id_: str) -> None:
        self.calls.append(("reopen_log", self.get(namespace, id_).id))

    def get(self, namespace: str, id_: str) -> ContainerStatus:
        return _only(self.list(namespace, Filter(id=id_)), f"container {id_}")

    def list(self, namespace: str, filter_: Filter) -> list[ContainerStatus]:
        return [
            status
            for (owner, _), status in self.kept.items()
            if owner == namespace
            and status.id.startswith(filter_.id)
            and status.container.sandbox_id.startswith(filter_.sandbox_id)
            and filter_.state in {"", status.state.value}
            and _labelled(dict(status.container.config.labels), dict(filter_.labels))
        ]

    def _put(self, namespace: str, status: ContainerStatus) -> None:
        self.kept[namespace, status.id] = status

    def _tell(self, namespace: str, status: ContainerStatus, kind: EventKind) -> None:
        sandbox = self._sandboxes.get(namespace, status.container.sandbox_id)
        self._sandboxes.tell(sandbox, status.id, kind)
