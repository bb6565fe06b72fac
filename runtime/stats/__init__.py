"""What pods and containers use: the contract.

Everything is read from the kernel when somebody asks: control groups and /proc in one go on a
thread, no process started, kept for a moment so that clients that ask together share one reading.
Only what takes long is measured beside the calls: the space that containers have written.

What the kernel does not tell is None or missing, never 0 in its place.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from runtime.cgroups import Counters
from runtime.pods import ContainerStatus, Filter, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A reading of a cgroup. `nano_cores` is the CPU time of a second, in ns, since the last one.

    There is none at a cgroup's first reading.
    """

    counters: Counters
    nano_cores: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUsage:
    """What a container has written into its own layer, as measured at `timestamp` (Unix ns)."""

    timestamp: int
    bytes: int
    inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """The counters of a network interface since it was made."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A pod's interfaces at `timestamp` (Unix ns), but for its loopback; the main one first."""

    timestamp: int
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats:
    """One container. `sample` is None when it has no cgroup (any more), `layer` until measured."""

    status: ContainerStatus
    sample: Sample | None = None
    layer: LayerUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStats:
    """One sandbox. `network` is None on the node's network; `processes` counts all in the pod."""

    sandbox: Sandbox
    sample: Sample | None = None
    network: Network | None = None
    processes: int | None = None
    containers: tuple[ContainerStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What the processes of a container have open; `soft_limit` is its first process's."""

    descriptors: int
    sockets: int | None = None
    soft_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDetails:
    """All there is to know of one container; `sample` has a detailed reading."""

    stats: ContainerStats
    cgroup: str
    processes: int | None = None
    files: Files | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxDetails:
    """All there is to know of one sandbox and its containers."""

    stats: SandboxStats
    containers: tuple[ContainerDetails, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """Where containers write, as statfs(2) sees it. `device` is what is mounted at `mountpoint`."""

    mountpoint: str
    device: str
    size: int
    inodes: int
    inodes_free: int


class Statistics(Protocol):
    """Readings for lists and metrics. Filters match as those of `Sandboxes` and `Containers`."""

    @property
    def mountpoint(self) -> str:
        """Where containers write: a path on that filesystem."""
        ...

    async def containers(self, namespace: str, filter_: Filter) -> list[ContainerStats]:
        """Return what matches, in the order they were made; ended ones without a sample."""
        ...

    async def sandboxes(self, namespace: str, filter_: Filter) -> list[SandboxStats]:
        """Return what matches, in the order they were made."""
        ...

    def details(self, namespace: str, filter_: Filter) -> AsyncIterator[SandboxDetails]:
        """Yield what matches, read some pods at a time."""
        ...

    async def filesystem(self) -> Filesystem:
        """Return the filesystem that containers write to."""
        ...

    def cgroup(self, sandbox: Sandbox) -> str:
        """Return the path of a pod's cgroup below its hierarchy; empty if it has none."""
        ...

    def device(self, major: int, minor: int) -> str:
        """Return a block device's path, such as `/dev/sda`; `8:0` if it has no name."""
        ...
