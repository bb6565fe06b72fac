"""The composition root: the only place that names concrete classes.

Everything is built bottom-up in one exit stack and torn down top-down; what runs for ever runs in
one task group. The socket appears when recovery is done.
"""

import asyncio
import faulthandler
import gc
import logging
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import grpc.aio
import uvloop

from cri import node as nodes
from cri import server as servers
from cri.api.ferry.v1 import node_pb2_grpc
from cri.background import Every, forever
from cri.config import Config, Network, NetworkPlugin
from cri.config.load import Loaded
from cri.config.text import plain
from cri.control import Control
from cri.interceptors import CallInterceptor
from cri.logging import set_level, set_up
from cri.metrics import Metrics
from cri.metrics_server import serving
from cri.node import Equipment
from cri.notify import notify, watchdog
from cri.services.cri_image import ImageService
from cri.services.cri_runtime import NAMESPACE, Backends, RuntimeService
from cri.services.defaults import configured
from cri.services.ferry_node import NodeService
from cri.services.node import Node as NodeFacts
from cri.services.registration import add_services
from cri.services.subjects import subject
from cri.streaming import Settings
from cri.streaming.server import StreamingServer
from cri.streaming.tls import configured as configured_certificates
from cri.version import VERSION
from runtime import blocking, doctor
from runtime.cdi.directories import CdiDirectories
from runtime.cgroups import Cgroups, Driver, home
from runtime.cgroups.paths import CgroupfsPaths, SystemdPaths
from runtime.cgroups.systemd import SystemdCgroups
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.io.execs import Execs
from runtime.io.ports import PodPorts
from runtime.io.sessions import ContainerSessions
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.namespaces import LinuxNamespaces, PodDefaults
from runtime.monitor.conmon import Conmon
from runtime.network import NodeNetwork
from runtime.network.bridge import BridgeNetwork
from runtime.network.cni.directory import present
from runtime.network.cni.ledger import CniPod, CniRecords
from runtime.network.cni.network import CniConfig, CniNetwork
from runtime.network.cni.programs import Programs
from runtime.network.ledger import NetworkRecords, PodRange
from runtime.network.linux import LinuxWires
from runtime.network.succession import Succession
from runtime.network.wires import BridgeConfig, PodLink
from runtime.oci.cli import OciCommandLine
from runtime.oci.launch import Launcher
from runtime.operations import Operations
from runtime.pods import Sandbox
from runtime.pods.containers import ContainerService
from runtime.pods.events import PodEventSource
from runtime.pods.holder import PidHolders
from runtime.pods.layout import Layout
from runtime.pods.members import MemberTable
from runtime.pods.netns import PodNamespaces
from runtime.pods.node import Node
from runtime.pods.recovery import Recovery
from runtime.pods.sandboxes import SandboxService
from runtime.pods.tables import SandboxTable
from runtime.spec import HostFacts, Json, Rlimit
from runtime.spec.resources import update_document
from runtime.stats.service import StatsService
from runtime.tasks import Task
from runtime.tasks.keeper import Parts
from runtime.tasks.service import TaskService
from store.content.local import LocalContent
from store.database import Database
from store.files import RootLock, explained
from store.gc import Collector
from store.graph import Grace, Graph
from store.images import Image, events
from store.images import platform as platforms
from store.images.connect import RegistryConnector
from store.images.layers import Limits
from store.images.pins import Pins
from store.images.pull import Stores
from store.images.roots import ImageRoots
from store.images.store import Images, Setting
from store.images.transport import Patience
from store.images.unpack import WorkerUnpacker
from store.leases import Leases
from store.metadata import Container
from store.metadata.records import SqliteRecords
from store.roots import ContainerRoots
from store.snapshots.overlay import OverlaySnapshotter

_BOOT: Final = "boot_id"

_log = logging.getLogger("ferryd")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """What is kept."""

    database: Database
    containers: SqliteRecords[Container]
    snapshotter: OverlaySnapshotter
    images: Images
    collector: Collector


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pods:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What everything else is built on."""

    config: Config
    layout: Layout
    equipment: Equipment
    host: HostFacts
    launcher: Launcher
    operations: Operations
    metrics: Metrics
    rlimits: tuple[Rlimit, ...]


def run(read: Callable[[], Loaded]) -> None:
    """Serve until SIGTERM; `read` reads the configuration, now and at each SIGHUP."""
    loaded = read()
    set_up(loaded.config.daemon.log_level, loaded.config.daemon.log_format)
    # systemd's watchdog ends a daemon that hangs by SIGABRT: say where it does.
    faulthandler.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded, read))


async def serve(loaded: Loaded, read: Callable[[], Loaded]) -> None:
    """Build bottom-up, recover, serve until told to stop, tear down top-down."""
    config = loaded.config
    layout = Layout(config.daemon.root, config.daemon.state)
    await blocking.run("directories", str(layout.root), partial(_make_directories, layout))
    operations = Operations()
    control = Control(loaded, read, operations)
    async with AsyncExitStack() as stack:
        stack.enter_context(control.signals())
        for directory in (layout.root, layout.state):
            stack.enter_context(RootLock(directory))
        base = await _base(config, layout, operations)
        store = await _store(stack, base)
        pods = await _pods(stack, base, store)
        notify("STATUS=finds what runs")
        with operations.begin("recovery"):
            await pods.recover(_rebooted(base, store))
        # Only now: a recovery that is cut short must know of the reboot the next time, too.
        store.database.set_meta(_BOOT, base.equipment.boot_id)
        await _serve(control, base, store, pods)


def _make_directories(layout: Layout) -> None:
    with explained(f"make {layout.root} and {layout.state}"):
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        layout.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        layout.state.chmod(0o711)  # the root of a pod's user namespace has to get through
        for directory in (layout.pods, layout.containers, layout.volumes):
            directory.mkdir(exist_ok=True, mode=0o711)
            (directory / NAMESPACE).mkdir(exist_ok=True, mode=0o711)


async def _base(config: Config, layout: Layout, operations: Operations) -> _Base:
    await nodes.prepare(config)
    equipment = await nodes.equipment(config)
    for finding in nodes.findings(equipment):
        _log.info("%s", finding.line())
    equipment.require()
    return _Base(
        config=config,
        layout=layout,
        equipment=equipment,
        host=equipment.host,
        launcher=Launcher(layout.state, equipment.environment),
        operations=operations,
        metrics=Metrics(operations),
        rlimits=(_raise_descriptor_limit(),),
    )


def _raise_descriptor_limit() -> Rlimit:
    """Let the daemon have two descriptors for each of many containers; return what was before.

    That is what containers start with: programs that close every possible descriptor would be slow
    under the daemon's limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Rlimit(kind="RLIMIT_NOFILE", soft=soft, hard=hard)


def _rebooted(base: _Base, store: _Store) -> bool:
    """Tell whether this is another boot than the last daemon's."""
    return store.database.meta(_BOOT) not in {None, base.equipment.boot_id}


async def _store(stack: AsyncExitStack, base: _Base) -> _Store:
    config, root = base.config.images, base.layout.root
    database = Database(root / "state.db")
    stack.callback(database.close)
    if database.damage:
        _log.error("the database was damaged: %s", database.damage)
    content = LocalContent(root / "content", database)
    snapshotter = OverlaySnapshotter(root / "snapshots", database)
    unpacker = await stack.enter_async_context(
        WorkerUnpacker(
            limits=Limits(size=config.max_unpacked_bytes, entries=config.max_unpacked_entries),
            parallel=config.max_concurrent_unpacks,
        )
    )
    leases = Leases(database, snapshotter.name)
    names = SqliteRecords(database, "images", Image)
    images = await stack.enter_async_context(
        Images(
            Stores(content=content, snapshotter=snapshotter, unpacker=unpacker, protection=leases),
            names,
            RegistryConnector(
                config.hosts_directories, patience=Patience(window=config.no_progress_seconds)
            ),
            Setting(
                content_root=root / "content",
                platform=platforms.parse(config.platform) if config.platform else platforms.host(),
                boot_id=base.equipment.boot_id,
                pins=Pins(config.pinned),
                downloads=config.max_concurrent_downloads,
                namespaces=frozenset({NAMESPACE}),
            ),
        )
    )
    containers = SqliteRecords(database, "containers", Container)
    return _Store(
        database=database,
        containers=containers,
        snapshotter=snapshotter,
        images=images,
        collector=Collector(
            Graph(content, (snapshotter,), images.namespaces, Grace(since=time.time_ns())),
            leases,
            (ImageRoots(names), ContainerRoots(containers, snapshotter.name)),
        ),
    )


def _tasks_of(base: _Base, store: _Store, cgroups: Cgroups) -> TaskService:
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


async def _network(base: _Base, store: _Store) -> NodeNetwork:
    """Return the network that is wanted; the other one, too, while pods are connected by it.

    It is chosen at start only: a file that appears in the directory would otherwise split the pods
    of a running node into two networks that may not reach each other.
    """
    ranges = SqliteRecords(store.database, "network.ranges", PodRange)
    links = SqliteRecords(store.database, "network.pods", PodLink)
    pods = SqliteRecords(store.database, "network.cni", CniPod)
    by_bridge = partial(_bridge, base, NetworkRecords(pods=links, ranges=ranges))
    by_cni = partial(_cni, base, CniRecords(pods=pods, ranges=ranges))
    if await _wants_cni(base.config.network):
        return Succession(by_cni(), by_bridge()) if any(links.walk()) else by_cni()
    return Succession(by_bridge(), by_cni()) if any(pods.walk()) else by_bridge()


async def _wants_cni(config: Network) -> bool:
    if config.plugin is not NetworkPlugin.AUTO:
        return config.plugin is NetworkPlugin.CNI
    directory = config.cni_conf_directory
    return await blocking.run("look for CNI", str(directory), partial(present, directory))


def _cni(base: _Base, records: CniRecords) -> CniNetwork:
    config = base.config.network
    programs = Programs(
        config.cni_bin_directories, base.equipment.environment, timeout=config.cni_plugin_seconds
    )
    return CniNetwork(CniConfig(directory=config.cni_conf_directory), records, programs)


def _bridge(base: _Base, records: NetworkRecords) -> BridgeNetwork:
    config = base.config.network
    bridge = BridgeConfig(
        name=config.bridge,
        subnets=config.subnets,
        masquerade=config.masquerade,
        nft=str(base.equipment.program("nft")),
    )
    return BridgeNetwork(bridge, records, LinuxWires(bridge))


async def _pods(stack: AsyncExitStack, base: _Base, store: _Store) -> _Pods:
    config, equipment = base.config, base.equipment
    kind = CgroupsV2 if equipment.cgroups.version == 2 else CgroupsV1
    tree = kind(equipment.cgroups.root, base.host.hugepage_sizes)
    cgroups = SystemdCgroups(tree) if equipment.driver is Driver.SYSTEMD else tree
    tasks = await stack.enter_async_context(_tasks_of(base, store, cgroups))
    network = await _network(base, store)
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
    return _Pods(
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


async def _serve(control: Control, base: _Base, store: _Store, pods: _Pods) -> None:
    """Open the socket, and keep serving until told to end; then let calls in flight finish."""
    config = base.config
    server = servers.make((CallInterceptor(base.operations, base.metrics, subject),))
    collect = Every(
        "garbage collection", lambda: control.config.gc.interval_seconds, store.collector.collect
    )
    control.on_reload(lambda fresh: set_level(fresh.daemon.log_level))
    control.on_reload(lambda fresh: store.images.repin(Pins(fresh.images.pinned)))
    collect.poke()  # for what a crash left
    async with AsyncExitStack() as stack:
        if config.daemon.metrics:
            await stack.enter_async_context(serving(base.metrics, config.daemon.metrics))
        group = await stack.enter_async_context(forever())
        group.run(collect.run(base.operations), "garbage collection")
        group.run(_after_removals(store.images, collect), "watch images")
        group.run(pods.sandboxes.watch(), "watch holders")
        group.run(pods.network.maintain(), "watch the network")
        group.run(pods.statistics.run(), "measure layers")
        group.run(watchdog(), "watchdog")
        streaming = await stack.enter_async_context(_streaming(control, base, pods))
        _add_services(server, control, base, store, pods, streaming)
        await servers.listen(server, config.daemon.socket)
        # What start-up made lives as long as the daemon: collections need not look at it again.
        gc.collect()
        gc.freeze()
        _log.info("ferryd %s serves on %s", VERSION, config.daemon.socket)
        notify("READY=1", f"STATUS=serves on {config.daemon.socket}")
        await control.ended()
        notify("STOPPING=1", "STATUS=lets calls in flight finish; containers go on")
        _log.info("ferryd ends; containers go on")
        pods.events.close()
        await server.stop(control.config.daemon.drain_seconds)


async def _after_removals(images: Images, collect: Every) -> None:
    async for topic, _ in images.events():
        if topic == events.DELETE:
            collect.poke()


@asynccontextmanager
async def _streaming(control: Control, base: _Base, pods: _Pods) -> AsyncIterator[StreamingServer]:
    """Serve exec, attach and port-forward for the block; sessions end with it."""
    config = base.config.streaming
    certificates = configured_certificates(config)
    if certificates is not None:
        control.on_reload(lambda _: certificates.renew())
    sessions = ContainerSessions(pods.tasks, Execs(base.launcher))
    server = StreamingServer(
        Settings(
            address=config.address,
            port=config.port,
            base_url=config.base_url,
            tls=None if certificates is None else certificates.context,
            idle=config.idle_seconds,
            creation=config.creation_seconds,
        ),
        sessions,
        PodPorts(PodNamespaces(pods.sandboxes, base.layout).network),
        base.operations,
    )
    try:
        async with server:
            yield server
    finally:
        sessions.close()


def _add_services(
    server: grpc.aio.Server,
    control: Control,
    base: _Base,
    store: _Store,
    pods: _Pods,
    streaming: StreamingServer,
) -> None:
    equipment, node = base.equipment, pods.node
    default = equipment.handlers.get("")
    facts = NodeFacts(
        version=VERSION,
        driver=equipment.driver,
        handlers={name: handler for name, handler in equipment.handlers.items() if name},
        default_handler=default.name if default else "",
        user_namespaces=not node.users_obstacle,
        recursive_readonly=node.host.recursive_readonly,
        defaults=configured(base.config.pods),
        documents=lambda: {"config": _document(control.config)},
    )
    backends = Backends(
        sandboxes=pods.sandboxes,
        containers=pods.containers,
        statistics=pods.statistics,
        events=pods.events,
        network=pods.network,
        node=facts,
        urls=streaming,
    )
    add_services(server, RuntimeService(backends), ImageService(store.images))

    async def examine() -> list[doctor.Finding]:
        devices = await blocking.run("look at devices", "CDI", node.devices.problems)
        return [
            *nodes.findings(equipment),
            doctor.of_user_namespaces(node.users_obstacle),
            *doctor.of_devices(devices),
            doctor.of_network(pods.network.status()),
        ]

    own = NodeService(base.operations, store.images, examine, NAMESPACE)
    node_pb2_grpc.add_NodeServicer_to_server(own, server)


def _document(config: Config) -> dict[str, Json]:
    """Return what a verbose Status says of the configuration; critest reads `stateDir`."""
    return {
        "stateDir": str(config.daemon.state),
        "rootDir": str(config.daemon.root),
        "address": str(config.daemon.socket),
        "options": plain(config),
    }
