"""What everything else is built on: the configuration, this node, and who starts programs."""

import logging
import resource
from dataclasses import dataclass

from cri import node as nodes
from cri.config import Config
from cri.metrics import Metrics
from cri.node import Equipment
from cri.services.cri_runtime import NAMESPACE
from runtime.oci.launch import Launcher
from runtime.operations import Operations
from runtime.pods.layout import Layout
from runtime.spec import HostFacts, Rlimit
from store.files import explained

_log = logging.getLogger("ferryd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What everything else is built on."""

    config: Config
    layout: Layout
    equipment: Equipment
    host: HostFacts
    launcher: Launcher
    operations: Operations
    metrics: Metrics
    rlimits: tuple[Rlimit, ...]


async def look_around(config: Config, layout: Layout, operations: Operations) -> Base:
    """Return what this node has; log it.

    Raises:
        FailedPreconditionError: pods could not run here.
    """
    await nodes.prepare(config)
    equipment = await nodes.equipment(config)
    for finding in nodes.findings(equipment):
        _log.info("%s", finding.line())
    equipment.require()
    return Base(
        config=config,
        layout=layout,
        equipment=equipment,
        host=equipment.host,
        launcher=Launcher(layout.state, equipment.environment),
        operations=operations,
        metrics=Metrics(operations),
        rlimits=(_raise_descriptor_limit(),),
    )


def make_directories(layout: Layout) -> None:
    """Make the directories that everything else is in; blocking."""
    with explained(f"make {layout.root} and {layout.state}"):
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        layout.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        layout.state.chmod(0o711)  # the root of a pod's user namespace has to get through
        for directory in (layout.pods, layout.containers, layout.volumes):
            directory.mkdir(exist_ok=True, mode=0o711)
            (directory / NAMESPACE).mkdir(exist_ok=True, mode=0o711)


def _raise_descriptor_limit() -> Rlimit:
    """Let the daemon have two descriptors for each of many containers; return what was before.

    That is what containers start with: programs that close every possible descriptor would be slow
    under the daemon's limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Rlimit(kind="RLIMIT_NOFILE", soft=soft, hard=hard)
