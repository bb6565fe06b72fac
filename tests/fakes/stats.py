"""Statistics of pods that run nowhere: each container uses what `usage` says."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from runtime.cgroups import Counters
from runtime.pods import ContainerState, ContainerStatus, Filter, Sandbox
from runtime.spec import NamespaceMode
from runtime.stats import (
    ContainerDetails,
    ContainerStats,
    Files,
    Filesystem,
    Interface,
    LayerUsage,
    Network,
    Sample,
    SandboxDetails,
    SandboxStats,
)
from tests.fakes.pods import FakeSandboxes

ETH0 = Interface(
    name="eth0",
    rx_bytes=100,
    rx_packets=10,
    rx_errors=1,
    rx_dropped=2,
    tx_bytes=200,
    tx_packets=20,
    tx_errors=3,
    tx_dropped=4,
)
LAYER = LayerUsage(timestamp=1, bytes=8192, inodes=3)


@dataclass(slots=True)
class FakeStatistics:
    """Implements `Statistics`."""

    pods: FakeSandboxes
    usage: Counters = field(
        default_factory=lambda: Counters(
            timestamp=1, cpu_usage=5_000_000_000, memory_usage=4096, memory_working_set=1024, pids=2
        )
    )
    mountpoint: str = "/var/lib/ferry/snapshots"

    async def containers(self, namespace: str, filter_: Filter) -> list[ContainerStats]:
        return [self._container(one) for one in self.pods.containers.list(namespace, filter_)]

    async def sandboxes(self, namespace: str, filter_: Filter) -> list[SandboxStats]:
        return [self._sandbox(one) for one in self.pods.list(namespace, filter_)]

    async def details(self, namespace: str, filter_: Filter) -> AsyncIterator[SandboxDetails]:
        for stats in await self.sandboxes(namespace, filter_):
            members = tuple(self._details(one) for one in stats.containers)
            yield SandboxDetails(stats=stats, containers=members)

    async def filesystem(self) -> Filesystem:
        return Filesystem(
            mountpoint=self.mountpoint, device="/dev/vda", size=1 << 30, inodes=1000, inodes_free=9
        )

    def cgroup(self, sandbox: Sandbox) -> str:
        return f"/ferry-{sandbox.id}"

    def device(self, major: int, minor: int) -> str:
        return f"/dev/vd{'abcd'[minor]}" if major == 253 else f"{major}:{minor}"

    def _container(self, status: ContainerStatus) -> ContainerStats:
        sample = Sample(counters=replace(self.usage, timestamp=time.time_ns()), nano_cores=7)
        ended = status.state is ContainerState.EXITED
        return ContainerStats(status=status, sample=None if ended else sample, layer=LAYER)

    def _sandbox(self, sandbox: Sandbox) -> SandboxStats:
        members = self.pods.containers.list(sandbox.namespace, Filter(sandbox_id=sandbox.id))
        stats = tuple(self._container(status) for status in members)
        on_node = sandbox.config.security.namespaces.network is NamespaceMode.NODE
        running = [one for one in stats if one.sample]
        return SandboxStats(
            sandbox=sandbox,
            sample=running[0].sample if running else None,
            network=None if on_node else Network(timestamp=1, interfaces=(ETH0,)),
            processes=len(running) if running else None,
            containers=stats,
        )

    def _details(self, stats: ContainerStats) -> ContainerDetails:
        if stats.sample is None:
            return ContainerDetails(stats=stats, cgroup="")
        files = Files(descriptors=5, sockets=1, soft_limit=1024)
        path = f"/ferry-{stats.status.container.sandbox_id}/{stats.status.id}"
        return ContainerDetails(stats=stats, cgroup=path, processes=1, files=files)
