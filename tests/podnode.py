"""A whole node for pods without a kernel: the real services over fakes, with faults on demand."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cri.background import forever
from runtime.cdi.directories import CdiDirectories
from runtime.cgroups.paths import CgroupfsPaths
from runtime.network import Attachment, AttachRequest, NetworkStatus
from runtime.oci import Handler
from runtime.operations import Operations
from runtime.pods import Sandbox
from runtime.pods.containers import ContainerService
from runtime.pods.events import PodEventSource
from runtime.pods.holder import PidHolders
from runtime.pods.layout import Layout
from runtime.pods.members import MemberTable
from runtime.pods.node import Node
from runtime.pods.recovery import Recovery
from runtime.pods.sandboxes import SandboxService
from runtime.pods.tables import SandboxTable
from runtime.stats.service import StatsService
from runtime.tasks import Task
from runtime.tasks.keeper import Parts
from runtime.tasks.service import TaskService
from store.content import Descriptor
from store.database import Database
from store.digest import Digest
from store.errors import NotFoundError
from store.images import ImageConfig, UnpackedImage
from store.metadata import Container
from store.metadata.records import MemoryRecords, SqliteRecords
from store.snapshots.overlay import OverlaySnapshotter
from store.snapshots.table import SnapshotRecord
from tests.fakes.cgroups import MemoryCgroups
from tests.fakes.containers import FakeMonitor, FakeNode, FakeProcesses, FakeRuntime
from tests.fakes.kernel import MemoryMounts, MemoryNamespaces
from tests.faulty import Faults
from tests.specs import HOST

NAMESPACE = "k8s.io"
BOOT = "boot-1"
IMAGE = "registry.test/busybox:1"

VOLUME = "registry.test/volume:1"
VOLUME_ID = Digest("sha256:" + "2" * 64)

_DIGEST = Digest("sha256:" + "1" * 64)
_CHAIN = "sha256:" + "3" * 64


class PodNetwork:
    """Implements `Network` with addresses from a counter; `refuse_detach` makes `detach` raise."""

    def __init__(self) -> None:
        self.attached: dict[str, Attachment] = {}
        self.refuse_detach: Exception | None = None

    async def attach(self, request: AttachRequest) -> Attachment:
        given = Attachment(addresses=(f"10.88.0.{len(self.attached) + 2}",))
        return self.attached.setdefault(request.sandbox_id, given)

    async def detach(self, sandbox_id: str, netns: Path | None = None) -> None:
        del netns
        if self.refuse_detach is not None:
            raise self.refuse_detach
        self.attached.pop(sandbox_id, None)

    async def recover(self, known: Collection[str]) -> None:
        self.attached = {id_: one for id_, one in self.attached.items() if id_ in known}

    def status(self) -> NetworkStatus:
        return NetworkStatus(ready=True, reason="NetworkReady")

    async def set_pod_cidr(self, cidr: str) -> None:
        raise AssertionError(f"no test asks for {cidr}")


def _image(name: str, digest: Digest, chain_id: str, config: ImageConfig) -> UnpackedImage:
    return UnpackedImage(
        id=digest,
        names=(name,),
        repo_tags=(name,),
        repo_digests=(f"registry.test/busybox@{digest}",),
        size=1,
        chain_id=chain_id,
        config=config,
        manifest=Descriptor(media_type="application/json", digest=digest, size=1),
    )


class TwoImages:
    """Implements `ImageReader`: an image without layers, and one with a layer for volumes."""

    def __init__(self, config: ImageConfig) -> None:
        self._images = [
            _image(IMAGE, _DIGEST, "", config),
            _image(VOLUME, VOLUME_ID, _CHAIN, ImageConfig()),
        ]

    def find(self, namespace: str, reference: str) -> UnpackedImage | None:
        del namespace
        return next((one for one in self._images if reference in {*one.names, one.id}), None)

    def list(self, namespace: str) -> list[UnpackedImage]:
        del namespace
        return list(self._images)


@dataclass(slots=True)
class Ground:
    """What outlives a daemon: the disk, the kernel, the records."""

    path: Path
    database: Database
    mounts: MemoryMounts = field(default_factory=MemoryMounts)
    namespaces: MemoryNamespaces = field(default_factory=MemoryNamespaces)
    network: PodNetwork = field(default_factory=PodNetwork)
    kernel: FakeNode = field(default_factory=FakeNode)
    tasks: MemoryRecords[Task] = field(default_factory=lambda: MemoryRecords[Task]("tasks"))
    containers: MemoryRecords[Container] = field(
        default_factory=lambda: MemoryRecords[Container]("containers")
    )
    sandboxes: MemoryRecords[Sandbox] = field(
        default_factory=lambda: MemoryRecords[Sandbox]("sandboxes")
    )
    image: ImageConfig = field(default_factory=lambda: ImageConfig(cmd=("/bin/top",)))

    @property
    def cgroups(self) -> MemoryCgroups:
        return self.kernel.cgroups

    @property
    def layout(self) -> Layout:
        return Layout(self.path / "root", self.path / "state")

    def left(self) -> list[str]:
        """Name everything that a node without pods does not have."""
        found = [f"mount {path}" for path in self.mounts.mounted(self.path)]
        found += [f"container {c.id} {c.state}" for c in self.kernel.containers.values()]
        found += [f"address of {id_}" for id_ in self.network.attached]
        for records in (self.tasks, self.containers, self.sandboxes):
            found += [f"record {records} {id_}" for _, id_, _ in records.walk()]
        snapshots = SqliteRecords(self.database, "snapshot.overlayfs", SnapshotRecord)
        found += [f"snapshot {key}" for _, key, _ in snapshots.walk() if key != _CHAIN]
        for directory in (self.layout.pods, self.layout.containers, self.layout.state / "tasks"):
            found += [f"file {path}" for path in directory.glob("*/*")]
        return found


@dataclass(slots=True)
class Daemon:
    """The services of one daemon."""

    pods: SandboxService
    containers: ContainerService
    tasks: TaskService
    node: Node
    events: PodEventSource
    statistics: StatsService


async def _snapshotter(ground: Ground) -> OverlaySnapshotter:
    """Return a snapshotter that has the layer of the image for volumes."""
    snapshotter = OverlaySnapshotter(ground.path / "snapshots", ground.database)
    try:
        await snapshotter.stat(NAMESPACE, _CHAIN)
    except NotFoundError:
        await snapshotter.prepare(NAMESPACE, "layer", None)
        await snapshotter.commit(NAMESPACE, "layer", _CHAIN)
    return snapshotter


@asynccontextmanager
async def daemon(
    ground: Ground, faults: Faults | None = None, *, boot: str = BOOT
) -> AsyncIterator[Daemon]:
    """Start the services over `ground`, recover, and end them with the block."""
    faults = faults or Faults()
    handler = Handler(name="crun", binary=Path("/usr/bin/crun"), root=ground.path / "crun")
    handlers = {"": handler, "crun": handler}
    parts = Parts(
        monitor=FakeMonitor(ground.kernel),
        runtime=faults.around("runtime", FakeRuntime(ground.kernel), ("update",)),
        cgroups=faults.around("cgroups", ground.cgroups, ("limits",)),
        handlers=handlers,
        root=ground.layout.state / "tasks",
        operations=Operations(),
        processes=FakeProcesses(ground.kernel),
    )
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(TaskService(ground.tasks, parts))
        snapshotter = await _snapshotter(ground)
        node = Node(
            layout=ground.layout,
            handlers=handlers,
            mounts=faults.around("mounts", ground.mounts, ("mount", "unmount")),
            namespaces=faults.around("namespaces", ground.namespaces, ("create", "remove")),
            network=faults.around("network", ground.network, ("attach", "detach")),
            cgroup_paths=CgroupfsPaths(),
            cgroups=ground.cgroups,
            tasks=faults.around("tasks", tasks, ("create", "start", "stop", "delete")),
            images=TwoImages(ground.image),
            snapshotter=faults.around("snapshots", snapshotter, ("prepare", "view", "remove")),
            host=HOST,
            devices=CdiDirectories((ground.path / "cdi",)),
            boot_id=boot,
            holder=Path("/bin/sh"),
        )
        holders = PidHolders(node)
        sandboxes = SandboxTable(faults.around("sandboxes", ground.sandboxes, ("put", "delete")))
        members = MemberTable(
            faults.around("containers", ground.containers, ("add", "update", "delete")), tasks
        )
        containers = await stack.enter_async_context(
            ContainerService(node, sandboxes, members, holders)
        )
        pods = await stack.enter_async_context(SandboxService(node, sandboxes, containers, holders))
        events = PodEventSource(sandboxes, members, tasks)
        statistics = StatsService(node, pods, containers)
        background = await stack.enter_async_context(forever())
        background.run(statistics.run(), "measure layers")
        await tasks.recover(rebooted=boot != BOOT)
        await Recovery(
            node=node, sandboxes=sandboxes, members=members, pods=pods, containers=containers
        ).run()
        yield Daemon(pods, containers, tasks, node, events, statistics)
        await asyncio.sleep(0)
