"""Puts readings, measurements and records together."""

import itertools
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from runtime.pods import (
    Containers,
    ContainerState,
    ContainerStatus,
    Filter,
    Sandbox,
    Sandboxes,
    SandboxState,
)
from runtime.pods.node import Node
from runtime.spec import NamespaceMode
from runtime.stats import (
    ContainerDetails,
    ContainerStats,
    Filesystem,
    Network,
    SandboxDetails,
    SandboxStats,
    disks,
    files,
    interfaces,
)
from runtime.stats.layers import LayerMeter
from runtime.stats.samples import Sampler
from store.errors import Error

BATCH: Final = 16
"""Pods whose details are read in one go."""

_EVERYTHING: Final = Filter()
_LIVE: Final = frozenset({ContainerState.CREATED, ContainerState.RUNNING, ContainerState.UNKNOWN})


class StatsService:
    """Implements `runtime.stats.Statistics`; `run` goes on beside it."""

    def __init__(self, node: Node, sandboxes: Sandboxes, containers: Containers) -> None:
        self._node = node
        self._sandboxes = sandboxes
        self._containers = containers
        self._sampler = Sampler(node.cgroups)
        self._layers = LayerMeter(node.snapshotter.usage)
        self._devices = disks.Devices()

    async def run(self) -> None:
        """Measure layers while somebody asks for them; for a task, until cancelled."""
        await self._layers.run()

    @property
    def mountpoint(self) -> str:
        """See `Statistics.mountpoint`."""
        return str(self._node.snapshotter.root)

    async def containers(self, namespace: str, filter_: Filter) -> list[ContainerStats]:
        """See `Statistics.containers`."""
        found = self._containers.list(namespace, filter_)
        return await self._stats(namespace, found, detailed=False)

    async def sandboxes(self, namespace: str, filter_: Filter) -> list[SandboxStats]:
        """See `Statistics.sandboxes`."""
        found = self._sandboxes.list(namespace, filter_)
        return await self._pods(namespace, found, detailed=False)

    async def details(self, namespace: str, filter_: Filter) -> AsyncIterator[SandboxDetails]:
        """See `Statistics.details`."""
        rest = iter(self._sandboxes.list(namespace, filter_))
        while batch := list(itertools.islice(rest, BATCH)):
            pods = await self._pods(namespace, batch, detailed=True)
            listed = list(itertools.chain.from_iterable(pod.containers for pod in pods))
            look = partial(self._look_into_containers, namespace, listed)
            found = await blocking.run("count files", f"{len(listed)} containers", look)
            for pod in pods:
                members = tuple(found[one.status.id] for one in pod.containers)
                yield SandboxDetails(stats=pod, containers=members)

    async def filesystem(self) -> Filesystem:
        """See `Statistics.filesystem`."""
        root = self._node.snapshotter.root
        return await blocking.run("look at filesystem", str(root), lambda: disks.filesystem(root))

    def device(self, major: int, minor: int) -> str:
        """See `Statistics.device`."""
        return self._devices.name(major, minor)

    def cgroup(self, sandbox: Sandbox) -> str:
        """See `Statistics.cgroup`."""
        return self._node.cgroup_paths.directory(sandbox.cgroup) if sandbox.cgroup else ""

    async def _stats(
        self, namespace: str, statuses: Sequence[ContainerStatus], *, detailed: bool
    ) -> list[ContainerStats]:
        paths = {status.id: self._container_cgroup(namespace, status) for status in statuses}
        samples = await self._sampler.samples(list(filter(None, paths.values())), detailed=detailed)
        layers = await self._layers.known(namespace, paths)
        return [
            ContainerStats(
                status=status, sample=samples.get(paths[status.id]), layer=layers.get(status.id)
            )
            for status in statuses
        ]

    def _container_cgroup(self, namespace: str, status: ContainerStatus) -> str:
        """Return the cgroup of a container; empty if it has none (any more)."""
        task = self._node.tasks.find(namespace, status.id)
        return task.cgroup if task is not None and status.state in _LIVE else ""

    async def _pods(
        self, namespace: str, pods: Sequence[Sandbox], *, detailed: bool
    ) -> list[SandboxStats]:
        members = self._members(namespace, pods)
        listed = list(itertools.chain.from_iterable(members.values()))
        stats = await self._stats(namespace, listed, detailed=detailed)
        found = {one.status.id: one for one in stats}
        paths = {pod.id: self.cgroup(pod) for pod in pods}
        samples = await self._sampler.samples(list(filter(None, paths.values())), detailed=detailed)
        look = partial(self._look_into_pods, pods)
        networks, processes = await blocking.run("look into pods", f"{len(pods)} of them", look)
        return [
            SandboxStats(
                sandbox=pod,
                sample=samples.get(paths[pod.id]),
                network=networks.get(pod.id),
                processes=processes[pod.id] if paths[pod.id] in samples else None,
                containers=tuple(found[status.id] for status in members[pod.id]),
            )
            for pod in pods
        ]

    def _members(self, namespace: str, pods: Sequence[Sandbox]) -> dict[str, list[ContainerStatus]]:
        """Return the containers of each pod."""
        only = Filter(sandbox_id=pods[0].id) if len(pods) == 1 else _EVERYTHING
        members: dict[str, list[ContainerStatus]] = {pod.id: [] for pod in pods}
        for status in self._containers.list(namespace, only):
            if (those := members.get(status.container.sandbox_id)) is not None:
                those.append(status)
        return members

    def _look_into_pods(self, pods: Sequence[Sandbox]) -> tuple[dict[str, Network], dict[str, int]]:
        """Return networks and numbers of processes by pod, on a thread."""
        netns = {pod.id: self._netns(pod) for pod in pods if _has_network(pod)}
        try:
            networks = interfaces.read(netns)
        except OSError as error:
            raise Error(f"cannot read the interfaces of pods: {error}") from error
        return networks, {pod.id: self._count(self.cgroup(pod)) for pod in pods}

    def _netns(self, pod: Sandbox) -> Path:
        return self._node.layout.sandbox(pod.namespace, pod.id).namespace("net")

    def _count(self, path: str) -> int:
        return len(self._node.cgroups.processes(path)) if path else 0

    def _look_into_containers(
        self, namespace: str, stats: Sequence[ContainerStats]
    ) -> dict[str, ContainerDetails]:
        """Return what only a look at each process tells, by container, on a thread."""
        return {one.status.id: self._details(namespace, one) for one in stats}

    def _details(self, namespace: str, stats: ContainerStats) -> ContainerDetails:
        path = self._container_cgroup(namespace, stats.status)
        if stats.sample is None or not path:
            return ContainerDetails(stats=stats, cgroup=path)
        pids = self._node.cgroups.processes(path)
        opened = files.opened(pids, stats.status.pid)
        return ContainerDetails(stats=stats, cgroup=path, processes=len(pids), files=opened)


def _has_network(pod: Sandbox) -> bool:
    on_node = pod.config.security.namespaces.network is NamespaceMode.NODE
    return pod.state is SandboxState.READY and not on_node
