"""What is kept: database, content, snapshots, images, and who collects the garbage."""

import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from cri.daemon.base import Base
from cri.services.cri_runtime import NAMESPACE
from store.content.local import LocalContent
from store.database import Database
from store.gc import Collector
from store.graph import Grace, Graph
from store.images import Image
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

_log = logging.getLogger("ferryd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What is kept."""

    database: Database
    containers: SqliteRecords[Container]
    snapshotter: OverlaySnapshotter
    images: Images
    collector: Collector


async def open_storage(stack: AsyncExitStack, base: Base) -> Storage:
    """Open what is kept; it is closed with the stack."""
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
    return Storage(
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
