"""The life of sandboxes: namespaces without a process, a network, a cgroup, a few files."""

import asyncio
import contextlib
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from runtime import blocking, operations
from runtime.cgroups.limits import check_usage
from runtime.flight import Flight
from runtime.locks import Locks
from runtime.network import AttachRequest, DnsConfig
from runtime.pods import Filter, Sandbox, SandboxConfig, SandboxState
from runtime.pods import check as checks
from runtime.pods.files import SandboxMaker
from runtime.pods.holder import PidHolders
from runtime.pods.node import Node
from runtime.pods.tables import SandboxTable, matches, new_id
from runtime.rollback import Rollback
from runtime.spec import NamespaceMode, Resources
from runtime.spec.resources import check as check_resources
from runtime.tasks import State
from store.errors import AlreadyExistsError, Error, FailedPreconditionError, NotFoundError

_log = logging.getLogger(__name__)

# A network without a record of a sandbox can only guess: a start does not wait for it.
_STRANGER: Final = 5.0


class Members(Protocol):
    """What a sandbox needs of its containers."""

    async def stop_all(self, namespace: str, sandbox_id: str) -> None:
        """Kill every container of the sandbox."""
        ...

    async def remove_all(self, namespace: str, sandbox_id: str) -> None:
        """Remove every container of the sandbox."""
        ...


class SandboxService:
    """Implements `runtime.pods.Sandboxes`. Use as a block."""

    def __init__(
        self, node: Node, table: SandboxTable, members: Members, holders: PidHolders
    ) -> None:
        self._node = node
        self._table = table
        self._members = members
        self._holders = holders
        self._maker = SandboxMaker(node)
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

    async def run(self, namespace: str, config: SandboxConfig, handler: str) -> str:
        """See `Sandboxes.run`."""
        chosen = self._node.handler(handler)
        checks.sandbox(self._node, config, chosen)
        there = self._table.ready(namespace, config.metadata)
        if there is not None:
            if (there.config, there.handler) == (config, chosen.name):
                return there.id
            raise AlreadyExistsError(
                f"cannot run pod {_name(config)}: attempt {config.metadata.attempt} is sandbox "
                f"{there.id}, with a different configuration"
            )
        return await self._flight.join(
            (namespace, config.metadata),
            lambda: self._run(namespace, config, chosen.name),
            name=f"pod {_name(config)} attempt {config.metadata.attempt}",
            fingerprint=(config, chosen.name),
        )

    async def stop(self, namespace: str, id_: str) -> None:
        """See `Sandboxes.stop`."""
        sandbox = self._lookup(namespace, id_)
        if sandbox is not None:
            async with self._locks.hold(sandbox.id):
                await self._stop(sandbox)

    async def remove(self, namespace: str, id_: str) -> None:
        """See `Sandboxes.remove`."""
        sandbox = self._lookup(namespace, id_)
        if sandbox is None:
            return
        async with self._locks.hold(sandbox.id):
            stopped = await self._stop(sandbox)
            await self._members.remove_all(namespace, stopped.id)
            await self.discard(stopped)

    async def resize(
        self, namespace: str, id_: str, *, overhead: Resources | None, resources: Resources | None
    ) -> None:
        """See `Sandboxes.resize`."""
        for limits in filter(None, (overhead, resources)):
            check_resources(limits, self._node.host)
        found = self._table.get(namespace, id_)
        async with self._locks.hold(found.id):
            sandbox = self._table.get(namespace, found.id)
            if sandbox.state is not SandboxState.READY:
                raise FailedPreconditionError(
                    f"cannot resize sandbox {sandbox.id}: it is {sandbox.state.value}"
                )
            resized = replace(
                sandbox,
                overhead=sandbox.overhead if overhead is None else overhead,
                resources=sandbox.resources if resources is None else resources,
            )
            await self._check_memory(resized)
            self._table.put(resized)

    def get(self, namespace: str, id_: str) -> Sandbox:
        """See `Sandboxes.get`."""
        return self._table.get(namespace, id_)

    def list(self, namespace: str, filter_: Filter) -> list[Sandbox]:
        """See `Sandboxes.list`."""
        return [
            sandbox
            for sandbox in self._table.walk()
            if sandbox.namespace == namespace
            and sandbox.state is not SandboxState.CREATING
            and sandbox.id.startswith(filter_.id or filter_.sandbox_id)
            and filter_.state in {"", sandbox.state.value}
            and matches(sandbox.config.labels, filter_.labels)
        ]

    async def discard(self, sandbox: Sandbox) -> None:
        """Delete a stopped sandbox; its record goes last, so that a client can ask again."""
        await self._holders.remove(sandbox)
        await self._maker.remove(sandbox)
        self._table.delete(sandbox)

    async def release(self, sandbox: Sandbox) -> None:
        """Give back network, namespaces and mounts of a sandbox; idempotent."""
        await self._holders.stop(sandbox)
        if sandbox.config.security.namespaces.network is not NamespaceMode.NODE:
            await self._disconnect(sandbox.namespace, sandbox.id)
        await self._maker.unpin(sandbox)

    async def abandon(self, sandbox: Sandbox) -> None:
        """Undo a sandbox that was being made, after the network was told that it is not known."""
        await self._holders.stop(sandbox)
        await self._maker.unpin(sandbox)
        await self.discard(sandbox)

    async def sweep(self, namespace: str, id_: str) -> None:
        """Remove what a crash left of a sandbox that has no record."""
        try:
            async with asyncio.timeout(_STRANGER):
                await self._disconnect(namespace, id_)
        except (Error, OSError) as error:
            _log.warning("recovery: cannot disconnect sandbox %s: %s", id_, error)
        await self._maker.sweep(namespace, id_)

    def lost(self, sandbox: Sandbox, reason: str) -> None:
        """Say that a sandbox cannot be used any more; its containers are left alone."""
        current = self._table.find(sandbox.namespace, sandbox.id)
        if current is not None and current.state is SandboxState.READY:
            self._table.put(replace(current, state=SandboxState.NOTREADY, reason=reason))

    async def watch(self) -> None:
        """For ever: a sandbox whose PID namespace holder has ended is not ready any more."""
        async for task in self._node.tasks.changes():
            sandbox = self._table.find(task.namespace, task.id)
            if sandbox is not None and task.state is State.STOPPED:
                self.lost(sandbox, "the holder of its PID namespace has ended")

    async def _check_memory(self, sandbox: Sandbox) -> None:
        """Refuse a limit of the pod with its overhead that is less than it uses already."""
        limit = (sandbox.resources or sandbox.config.resources).memory_limit
        if limit <= 0:
            return
        overhead = sandbox.overhead or sandbox.config.overhead
        whole = limit + max(0, overhead.memory_limit)
        directory = self._node.cgroup_paths.directory(sandbox.cgroup)

        def refuse(used: int) -> str:
            return (
                f"cannot resize sandbox {sandbox.id}: it uses {used} bytes of memory, more than "
                f"the new limit of {whole}"
            )

        check = partial(check_usage, self._node.cgroups, directory, whole, refuse)
        with contextlib.suppress(NotFoundError):  # no container was made in it yet
            await blocking.run("read cgroup", directory, check)

    def _lookup(self, namespace: str, id_: str) -> Sandbox | None:
        try:
            return self._table.get(namespace, id_)
        except Error:
            return None

    async def _run(self, namespace: str, config: SandboxConfig, handler: str) -> str:
        sandbox = Sandbox(
            namespace=namespace,
            id=new_id(),
            config=config,
            handler=handler,
            state=SandboxState.CREATING,
            created_at=time.time_ns(),
            boot_id=self._node.boot_id,
        )
        cgroup = self._node.cgroup_paths.sandbox(config.cgroup_parent, sandbox.id)
        sandbox = replace(sandbox, cgroup=cgroup)
        async with Rollback() as undo:
            undo.push("forget the sandbox", self._forget, sandbox, undo)
            self._table.put(sandbox)
            undo.push("remove its files", self._maker.remove, sandbox)
            await self._maker.make(sandbox)
            addresses = await self._connect(sandbox, undo)
            self._table.put(replace(sandbox, state=SandboxState.READY, addresses=addresses))
            undo.keep()
        return sandbox.id

    async def _connect(self, sandbox: Sandbox, undo: Rollback) -> tuple[str, ...]:
        config = sandbox.config
        if config.security.namespaces.network is NamespaceMode.NODE:
            return ()
        operations.stage("network", _name(config))
        undo.push("detach the network", self._node.network.detach, sandbox.id)
        attachment = await self._node.network.attach(
            AttachRequest(
                sandbox_id=sandbox.id,
                netns=self._netns(sandbox.namespace, sandbox.id),
                pod_namespace=config.metadata.namespace,
                pod_name=config.metadata.name,
                pod_uid=config.metadata.uid,
                ports=config.ports,
                annotations=config.annotations,
                dns=config.dns or DnsConfig(),
            )
        )
        return attachment.addresses

    async def _disconnect(self, namespace: str, id_: str) -> None:
        """Give back the network while the namespace is there, which plugins may want to enter."""
        operations.stage("network", f"detach {id_[:12]}")
        await self._node.network.detach(id_, self._netns(namespace, id_))

    def _netns(self, namespace: str, id_: str) -> Path:
        return self._node.layout.sandbox(namespace, id_).namespace("net")

    def _forget(self, sandbox: Sandbox, undo: Rollback) -> None:
        if not undo.failures:
            self._table.delete(sandbox)
            return
        # What could not be undone stays visible, so that the client removes it later.
        reason = "; ".join(undo.failures)
        self._table.put(replace(sandbox, state=SandboxState.NOTREADY, reason=reason))

    async def _stop(self, sandbox: Sandbox) -> Sandbox:
        current = self._table.find(sandbox.namespace, sandbox.id) or sandbox
        await self._members.stop_all(current.namespace, current.id)
        if current.stopped_at:
            return current
        await self.release(current)
        stopped = replace(
            current, state=SandboxState.NOTREADY, addresses=(), stopped_at=time.time_ns()
        )
        self._table.put(stopped)
        return stopped


def _name(config: SandboxConfig) -> str:
    return f"{config.metadata.namespace}/{config.metadata.name}"
