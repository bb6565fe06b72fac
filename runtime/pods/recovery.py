"""What a new daemon does before it serves: make the records and the node agree.

Tasks have been recovered by then. The network takes back what no sandbox has; a sandbox that was
being made is undone; one whose namespaces or holder are gone is NOTREADY; a container that was
being made is undone; directories and mounts that no record names are removed. Each item on its own:
one that fails is logged and left for the next start, and never keeps the daemon from serving.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from runtime.pods import Sandbox, SandboxState
from runtime.pods.containers import ContainerService
from runtime.pods.files import kinds
from runtime.pods.members import Member, MemberTable
from runtime.pods.node import Node
from runtime.pods.sandboxes import SandboxService
from runtime.pods.tables import SandboxTable
from runtime.tasks import State
from runtime.together import together
from store.errors import Error

_log = logging.getLogger(__name__)
# What a start waits for the networks of pods from before a reboot; the rest is done when the client
# stops the pod.
_PATIENCE: Final = 20.0

_Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One recovery, at start; all parts as the services use them."""

    node: Node
    sandboxes: SandboxTable
    members: MemberTable
    pods: SandboxService
    containers: ContainerService

    async def run(self) -> None:
        """Recover everything; what cannot be is logged, never raised."""
        # The network comes first: it may want to enter namespaces that go with what is undone.
        await self._all([partial(self.node.network.recover, self._connected())])
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        await self._all([partial(self._sandbox, s, deadline) for s in self.sandboxes.walk()])
        await self._all([partial(self._member, m) for m in self.members.walk()])
        await self._all(await blocking.run("find leftovers", "", self._leftovers))

    def _connected(self) -> list[str]:
        return [
            sandbox.id
            for sandbox in self.sandboxes.walk()
            if sandbox.state is not SandboxState.CREATING and not sandbox.stopped_at
        ]

    async def _all(self, steps: list[_Step]) -> None:
        await together([partial(_guarded, step) for step in steps])

    async def _sandbox(self, sandbox: Sandbox, deadline: float) -> None:
        if sandbox.state is SandboxState.CREATING:
            await self.pods.abandon(sandbox)
        elif sandbox.state is SandboxState.READY:
            reason = await self._lost(sandbox)
            if reason:
                _log.warning("recovery: sandbox %s is not ready: %s", sandbox.id, reason)
                self.pods.lost(sandbox, reason)
        if sandbox.boot_id != self.node.boot_id and not sandbox.stopped_at:
            async with asyncio.timeout_at(deadline):
                await self._rebooted(sandbox)

    async def _lost(self, sandbox: Sandbox) -> str:
        if sandbox.boot_id != self.node.boot_id:
            return "the node was restarted"
        directory = self.node.layout.sandbox(sandbox.namespace, sandbox.id).namespaces
        wanted = kinds(sandbox.config)
        alive = await blocking.run(
            "look at namespaces",
            sandbox.id[:12],
            lambda: self.node.namespaces.alive(directory, wanted),
        )
        if not alive:
            return "its namespaces are gone"
        holder = self.node.tasks.find(sandbox.namespace, sandbox.id)
        if holder is not None and holder.state is not State.RUNNING:
            return "the holder of its PID namespace is gone"
        return ""

    async def _rebooted(self, sandbox: Sandbox) -> None:
        await self.pods.release(sandbox)
        current = self.sandboxes.find(sandbox.namespace, sandbox.id)
        if current is not None:
            stopped = replace(
                current, state=SandboxState.NOTREADY, addresses=(), stopped_at=time.time_ns()
            )
            self.sandboxes.put(stopped)

    async def _member(self, member: Member) -> None:
        task = self.node.tasks.find(member.namespace, member.id)
        if task is None and not member.pod.damage:
            # Its creation was cut off before the task: no client has been told of it.
            await self.containers.remove(member.namespace, member.id)

    def _leftovers(self) -> list[_Step]:
        layout = self.node.layout
        steps: list[_Step] = []
        for namespace, id_ in _children(layout.pods):
            if self.sandboxes.find(namespace, id_) is None:
                steps.append(partial(self.pods.sweep, namespace, id_))
        known = {(member.namespace, member.id) for member in self.members.walk()}
        holders = {(sandbox.namespace, sandbox.id) for sandbox in self.sandboxes.walk()}
        found = {*_children(layout.containers), *_children(layout.volumes)}
        found |= {(task.namespace, task.id) for task in self.node.tasks.walk()}
        for namespace, id_ in found - known - holders:
            steps.append(partial(self.containers.discard, namespace, id_))
        return steps


def _children(directory: Path) -> set[tuple[str, str]]:
    return {(path.parent.name, path.name) for path in directory.glob("*/*")}


async def _guarded(step: _Step) -> None:
    try:
        await step()
    except (Error, OSError) as error:
        _log.exception("recovery: %s", error)
