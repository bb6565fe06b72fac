"""What pods are made from: the parts of this node that the pod services share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.cdi import Devices
from runtime.cgroups import CgroupPaths, Cgroups
from runtime.kernel import Mounts, Namespaces
from runtime.network import Network
from runtime.oci import Handler
from runtime.pods.layout import Layout
from runtime.spec import HostFacts, Rlimit
from runtime.tasks import Tasks
from store.errors import InvalidArgumentError
from store.images import ImageReader
from store.snapshots import Snapshotter


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The parts, each behind its contract, and the node's settings for pods.

    `handlers` holds the default one under "" as well; `holder` is the program that keeps a shared
    PID namespace (catatonit), None where it is missing; `rlimits` are what containers start with;
    `users_obstacle` says why pods cannot have user namespaces here, empty if they can.
    """

    layout: Layout
    handlers: Mapping[str, Handler]
    mounts: Mounts
    namespaces: Namespaces
    network: Network
    cgroup_paths: CgroupPaths
    cgroups: Cgroups
    tasks: Tasks
    images: ImageReader
    snapshotter: Snapshotter
    host: HostFacts
    devices: Devices
    boot_id: str
    holder: Path | None = None
    rlimits: tuple[Rlimit, ...] = ()
    users_obstacle: str = ""
    shm_size: int = 64 << 20
    host_resolv_conf: Path = Path("/etc/resolv.conf")

    def handler(self, name: str) -> Handler:
        """Return the handler called `name`; "" is the default.

        Raises:
            InvalidArgumentError: no such handler; names those there are.
        """
        try:
            return self.handlers[name]
        except KeyError:
            known = ", ".join(sorted(filter(None, self.handlers)))
            raise InvalidArgumentError(
                f"cannot use runtime_handler {name!r}: this node has {known}"
            ) from None
