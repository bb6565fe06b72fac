"""The sockets: CRI, the node's own service, streaming, metrics; and what runs beside the calls."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio

from cri import node as nodes
from cri import server as servers
from cri.api.ferry.v1 import node_pb2_grpc
from cri.background import Every, forever
from cri.config import Config
from cri.config.text import plain
from cri.control import Control
from cri.daemon.base import Base
from cri.daemon.running import Pods
from cri.daemon.storage import Storage
from cri.interceptors import CallInterceptor
from cri.logging import set_level
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
from runtime.io.execs import Execs
from runtime.io.ports import PodPorts
from runtime.io.sessions import ContainerSessions
from runtime.pods.netns import PodNamespaces
from runtime.spec import Json
from store.images import events
from store.images.pins import Pins
from store.images.store import Images

_log = logging.getLogger("ferryd")


async def serve_calls(control: Control, base: Base, store: Storage, pods: Pods) -> None:
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
            from cri.metrics_server import serving  # noqa: PLC0415 - 2 MB that few nodes need

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
async def _streaming(control: Control, base: Base, pods: Pods) -> AsyncIterator[StreamingServer]:
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
    base: Base,
    store: Storage,
    pods: Pods,
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
            doctor.of_user_namespaces(node.users_obstacle, equipment.handlers),
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
