"""CRI's services on a real gRPC server over a unix socket, with fakes behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from cri import server
from cri.api.ferry.v1 import node_pb2_grpc
from cri.api.runtime.v1 import api_pb2_grpc
from cri.interceptors import CallInterceptor
from cri.metrics import Metrics
from cri.services.cri_image import ImageService
from cri.services.cri_runtime import NAMESPACE, Backends, RuntimeService
from cri.services.ferry_node import NodeService
from cri.services.node import Node
from cri.services.registration import add_services
from cri.services.subjects import subject
from runtime import doctor
from runtime.cgroups import Driver
from runtime.oci import Features, Handler
from runtime.operations import Operations
from tests.fakes.images import FakeImages
from tests.fakes.images import image as some_image
from tests.fakes.network import MemoryNetwork
from tests.fakes.pods import FakeContainers, FakeSandboxes
from tests.fakes.stats import FakeStatistics
from tests.fakes.streams import FakeUrls

CRUN = Handler(
    name="crun",
    binary=Path("/opt/crun"),
    root=Path("/run/crun"),
    features=Features(recursive_readonly=True, user_namespaces=True, idmap_mounts=True),
)
RUNC = Handler(name="runc", binary=Path("/opt/runc"), root=Path("/run/runc"))
NODE = Node(
    version="1.2.3",
    driver=Driver.CGROUPFS,
    handlers={"crun": CRUN, "runc": RUNC},
    default_handler="crun",
    user_namespaces=True,
    recursive_readonly=True,
    documents=lambda: {"config": {"stateDir": "/run/ferry"}},
)


@dataclass(slots=True)
class Parts:
    """The fakes behind the services, and what goes around them."""

    sandboxes: FakeSandboxes = field(default_factory=FakeSandboxes)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    images: FakeImages = field(default_factory=lambda: FakeImages(some_image(1, "example.org/a:1")))
    operations: Operations = field(default_factory=Operations)
    node: Node = NODE
    findings: list[doctor.Finding] = field(default_factory=list)
    urls: FakeUrls = field(default_factory=FakeUrls)
    metrics: Metrics = field(init=False)
    statistics: FakeStatistics = field(init=False)

    @property
    def containers(self) -> FakeContainers:
        return self.sandboxes.containers

    def service(self) -> RuntimeService:
        """Return the runtime service over these."""
        return RuntimeService(
            Backends(
                sandboxes=self.sandboxes,
                containers=self.containers,
                statistics=self.statistics,
                events=self.sandboxes.events,
                network=self.network,
                node=self.node,
                urls=self.urls,
            )
        )

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.operations)
        self.statistics = FakeStatistics(self.sandboxes)


@dataclass(frozen=True, slots=True)
class Clients:
    """Stubs of all services, and the channel for calls that stubs cannot make."""

    runtime: api_pb2_grpc.RuntimeServiceStub
    images: api_pb2_grpc.ImageServiceStub
    node: node_pb2_grpc.NodeStub
    channel: grpc.aio.Channel


@asynccontextmanager
async def serving(parts: Parts, directory: Path) -> AsyncIterator[Clients]:
    """Serve `parts` for the block."""
    interceptor = CallInterceptor(parts.operations, parts.metrics, subject)
    running = server.make([interceptor])
    add_services(running, parts.service(), ImageService(parts.images))

    async def examine() -> list[doctor.Finding]:
        return parts.findings

    own = NodeService(parts.operations, parts.images, examine, NAMESPACE)
    node_pb2_grpc.add_NodeServicer_to_server(own, running)
    await parts.network.recover(())
    await server.listen(running, directory / "ferry.sock")
    try:
        async with grpc.aio.insecure_channel(
            f"unix:{directory / 'ferry.sock'}",
            options=[("grpc.max_receive_message_length", 64 << 20)],
        ) as channel:
            yield Clients(
                api_pb2_grpc.RuntimeServiceStub(channel),
                api_pb2_grpc.ImageServiceStub(channel),
                node_pb2_grpc.NodeStub(channel),
                channel,
            )
    finally:
        await running.stop(0)


async def raw_call(clients: Clients, method: str, data: bytes) -> bytes:
    """Call a unary method of the runtime service with any bytes."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = clients.channel.unary_unary(
        f"/runtime.v1.RuntimeService/{method}"
    )
    return await call(data)


async def raw_stream(clients: Clients, method: str, data: bytes) -> bytes:
    """Call a streaming method of the runtime service with any bytes; return all it sends."""
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = clients.channel.unary_stream(
        f"/runtime.v1.RuntimeService/{method}"
    )
    return b"".join([chunk async for chunk in call(data)])
