"""The life of pods' containers."""

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from runtime import operations
from runtime.flight import Flight
from runtime.locks import Locks
from runtime.oci import ExecOutput
from runtime.pods import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    Filter,
    Sandbox,
    SandboxState,
)
from runtime.pods import check as checks
from runtime.pods.holder import PidHolders
from runtime.pods.members import Member, MemberTable
from runtime.pods.node import Node
from runtime.pods.plan import Planner
from runtime.pods.rootfs import RootFilesystems
from runtime.pods.signals import number
from runtime.pods.status import narrowed
from runtime.pods.tables import SandboxTable, new_id
from runtime.rollback import Rollback
from runtime.spec import Resources
from runtime.spec.resources import check as check_resources
from runtime.spec.resources import merge_resources
from runtime.tasks import State
from runtime.together import together
from store.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from store.metadata import Container


class ContainerService:
    """Implements `runtime.pods.Containers`. Use as a block."""

    def __init__(
        self, node: Node, sandboxes: SandboxTable, members: MemberTable, holders: PidHolders
    ) -> None:
        self._node = node
        self._sandboxes = sandboxes
        self._members = members
        self._rootfs = RootFilesystems(node)
        self._planner = Planner(node, members, holders)
        self._locks = Locks()
        self._flight: Flight[str] = Flight()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._flight)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def create(self, namespace: str, sandbox_id: str, config: ContainerConfig) -> str:
        """See `Containers.create`."""
        checks.container(config)
        sandbox = self._usable(namespace, sandbox_id)
        checks.member(sandbox, config)
        there = self._created(sandbox, config)
        if there is not None:
            return there
        return await self._flight.join(
            (namespace, sandbox.id, config.metadata),
            lambda: self._create(sandbox, config),
            name=f"container {_name(config)} of sandbox {sandbox.id[:12]}",
            fingerprint=config,
        )

    async def start(self, namespace: str, id_: str) -> None:
        """See `Containers.start`."""
        member = self._members.get(namespace, id_)
        operations.stage("start", member.id[:12])
        await self._node.tasks.start(namespace, member.id)

    async def stop(self, namespace: str, id_: str, grace: float) -> None:
        """See `Containers.stop`."""
        member = self._find(namespace, id_)
        if member is not None:
            await self._stop(member, grace)

    async def remove(self, namespace: str, id_: str) -> None:
        """See `Containers.remove`."""
        member = self._find(namespace, id_)
        if member is not None:
            await self._remove(member)

    async def exec_sync(
        self, namespace: str, id_: str, argv: tuple[str, ...], timeout: float
    ) -> ExecOutput:
        """See `Containers.exec_sync`."""
        member = self._members.get(namespace, id_)
        operations.stage("exec", argv[0])
        return await self._node.tasks.exec_sync(namespace, member.id, argv, timeout=timeout)

    async def update(self, namespace: str, id_: str, resources: Resources) -> None:
        """See `Containers.update`."""
        member = self._members.get(namespace, id_)
        async with self._locks.hold(member.id):
            merged = merge_resources(member.pod.resources, resources)
            check_resources(merged, self._node.host)
            operations.stage("update", member.id[:12])
            async with self._node.tasks.update(namespace, member.id, merged):
                self._members.change(member, replace(member.pod, resources=merged))

    async def reopen_log(self, namespace: str, id_: str) -> None:
        """See `Containers.reopen_log`."""
        member = self._members.get(namespace, id_)
        if self._members.status(member).state is not ContainerState.RUNNING:
            raise FailedPreconditionError(f"cannot reopen the log of {member.id}: not running")
        operations.stage("reopen log", member.pod.log_path)
        await self._node.tasks.reopen_log(namespace, member.id)

    def get(self, namespace: str, id_: str) -> ContainerStatus:
        """See `Containers.get`."""
        return self._members.status(self._members.get(namespace, id_))

    def list(self, namespace: str, filter_: Filter) -> list[ContainerStatus]:
        """See `Containers.list`."""
        found = [self._members.status(member) for member in self._members.walk(namespace)]
        return narrowed(found, filter_)

    async def stop_all(self, namespace: str, sandbox_id: str) -> None:
        """Kill every container of the sandbox."""
        await together([partial(self._stop, m, 0) for m in self._members.of(namespace, sandbox_id)])

    async def remove_all(self, namespace: str, sandbox_id: str) -> None:
        """Remove every container of the sandbox."""
        await together([partial(self._remove, m) for m in self._members.of(namespace, sandbox_id)])

    async def discard(self, namespace: str, id_: str) -> None:
        """Remove what a crash left of a container that has no record."""
        await self._node.tasks.delete(namespace, id_)
        await self._rootfs.remove(namespace, id_)

    def _find(self, namespace: str, id_: str) -> Member | None:
        try:
            return self._members.get(namespace, id_)
        except NotFoundError:
            return None

    def _usable(self, namespace: str, sandbox_id: str) -> Sandbox:
        sandbox = self._sandboxes.get(namespace, sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise FailedPreconditionError(
                f"cannot create a container in sandbox {sandbox.id}: it is {sandbox.state.value}"
                + (f" ({sandbox.reason})" if sandbox.reason else "")
            )
        return sandbox

    def _created(self, sandbox: Sandbox, config: ContainerConfig) -> str | None:
        for member in self._members.of(sandbox.namespace, sandbox.id):
            if member.pod.config.metadata != config.metadata:
                continue
            state = self._members.status(member).state
            if member.pod.config == config and state is ContainerState.CREATED:
                return member.id
            raise AlreadyExistsError(
                f"cannot create container {_name(config)}: attempt {config.metadata.attempt} of it "
                f"is {member.id}, {state.value}"
            )
        return None

    async def _create(self, sandbox: Sandbox, config: ContainerConfig) -> str:
        id_ = new_id()
        async with Rollback() as undo:
            undo.push("forget the task", self._node.tasks.delete, sandbox.namespace, id_)
            plan = await self._planner.plan(sandbox, id_, config, undo)
            operations.stage("record", id_[:12])
            # The sandbox may have been stopped while this was prepared.
            self._usable(sandbox.namespace, sandbox.id)
            undo.push("forget the container", self._forget, sandbox.namespace, id_)
            self._members.add(
                sandbox.namespace,
                id_,
                Container(
                    image=plan.pod.image_name,
                    labels={**config.labels, **plan.labels},
                    runtime=sandbox.handler,
                    snapshotter=self._node.snapshotter.name,
                    snapshot_key=id_,
                    sandbox_id=sandbox.id,
                    created_at=time.time_ns(),
                ),
                plan.pod,
            )
            await self._node.tasks.create(plan.task)
            undo.keep()
        return id_

    def _forget(self, namespace: str, id_: str) -> None:
        self._members.forget(namespace, id_)

    async def _stop(self, member: Member, grace: float) -> None:
        task = self._node.tasks.find(member.namespace, member.id)
        if task is None or task.state is State.STOPPED:
            return
        operations.stage("stop", member.id[:12])
        signal = number(member.pod.stop_signal)
        await self._node.tasks.stop(member.namespace, member.id, signal, grace)

    async def _remove(self, member: Member) -> None:
        async with self._locks.hold(member.id):
            if self._find(member.namespace, member.id) is not member:
                return
            operations.stage("remove", member.id[:12])
            # The record goes last: until then the client can see what is left, and ask again.
            await self._node.tasks.delete(member.namespace, member.id)
            await self._rootfs.remove(member.namespace, member.id)
            self._members.delete(member)


def _name(config: ContainerConfig) -> str:
    return f"{config.metadata.name} attempt {config.metadata.attempt}"
