"""What runs: tasks, sandboxes, containers, their statistics and events."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from cri import node as nodes
from cri.daemon.base import Base
from cri.daemon.networks import choose_network
from cri.daemon.storage import Storage
from runtime.cdi.directories import CdiDirectories
from runtime.cgroups import Cgroups, Driver, home
from runtime.cgroups.paths import CgroupfsPaths, SystemdPaths
from runtime.cgroups.systemd import SystemdCgroups
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.namespaces import LinuxNamespaces, PodDefaults
from runtime.monitor.conmon import Conmon
from runtime.network import NodeNetwork
from runtime.oci.cli import OciCommandLine
from runtime.pods import Sandbox
from runtime.pods.containers import ContainerService
from runtime.pods.events import PodEventSource
from runtime.pods.holder import PidHolders
from runtime.pods.members import MemberTable
from runtime.pods.node import Node
from runtime.pods.recovery import Recovery
from runtime.pods.sandboxes import SandboxService
from runtime.pods.tables import SandboxTable
from runtime.spec.resources import update_document
from runtime.stats.service import StatsService
from runtime.tasks import Task
from runtime.tasks.keeper import Parts
from runtime.tasks.service import TaskService
from store.metadata.records import SqliteRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """What runs."""

    node: Node
    sandboxes: SandboxService
    containers: ContainerService
    statistics: StatsService
    events: PodEventSource
    tasks: TaskService
    network: NodeNetwork
    recovery: Recovery

    async def recover(self, rebooted: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Make records and node agree: tasks first, then pods."""
        await self.tasks.recover(rebooted=rebooted)
        await self.recovery.run()


async def assemble_pods(stack: AsyncExitStack, base: Base, store: Storage) -> Pods:
    """Return what runs pods; it ends with the stack, the pods go on."""
    config, equipment = base.config, base.equipment
    kind = CgroupsV2 if equipment.cgroups.version == 2 else CgroupsV1
    tree = kind(equipment.cgroups.root, base.host.hugepage_sizes)
    cgroups = SystemdCgroups(tree) if equipment.driver is Driver.SYSTEMD else tree
    tasks = await stack.enter_async_context(_tasks_of(base, store, cgroups))
    network = await choose_network(base, store)
    stack.push_async_callback(network.close)
    node = Node(
        layout=base.layout,
        handlers=equipment.handlers,
        mounts=LinuxMounts(),
        namespaces=LinuxNamespaces(
            PodDefaults(
                unprivileged_ports=config.pods.unprivileged_ports,
                unprivileged_ping=config.pods.unprivileged_icmp,
            ),
            equipment.user_programs,
        ),
        network=network,
        cgroup_paths=SystemdPaths() if equipment.driver is Driver.SYSTEMD else CgroupfsPaths(),
        cgroups=cgroups,
        tasks=tasks,
        images=store.images,
        snapshotter=store.snapshotter,
        host=base.host,
        devices=CdiDirectories(config.pods.cdi_directories),
        boot_id=equipment.boot_id,
        holder=equipment.tools["catatonit"].path,
        rlimits=base.rlimits,
        users_obstacle=await nodes.users_obstacle(equipment, store.snapshotter.root),
    )
    holders = PidHolders(node)
    sandboxes = SandboxTable(SqliteRecords(store.database, "sandboxes", Sandbox))
    members = MemberTable(store.containers, tasks)
    containers = await stack.enter_async_context(
        ContainerService(node, sandboxes, members, holders)
    )
    pods = await stack.enter_async_context(SandboxService(node, sandboxes, containers, holders))
    return Pods(
        node=node,
        sandboxes=pods,
        containers=containers,
        statistics=StatsService(node, pods, containers),
        events=PodEventSource(sandboxes, members, tasks),
        tasks=tasks,
        network=network,
        recovery=Recovery(
            node=node, sandboxes=sandboxes, members=members, pods=pods, containers=containers
        ),
    )


def _tasks_of(base: Base, store: Storage, cgroups: Cgroups) -> TaskService:
    runtime = OciCommandLine(
        base.launcher, partial(update_document, host=base.host), env=base.equipment.environment
    )
    monitor = Conmon(
        base.equipment.program("conmon"),
        runtime,
        env=base.equipment.environment,
        cgroups=home.beside(),
    )
    records = SqliteRecords(store.database, "tasks", Task)
    return TaskService(
        records,
        Parts(
            monitor=monitor,
            runtime=runtime,
            cgroups=cgroups,
            handlers=base.equipment.handlers,
            root=base.layout.state / "tasks",
            operations=base.operations,
        ),
    )
