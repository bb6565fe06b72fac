"""Control groups: paths for both drivers, and what is read and done by path: the contract.

What differs between v1 and v2 is in `v1` and `v2`; what differs between cgroupfs and systemd is in
`paths`. OCI runtimes create and remove the cgroups of containers; ferry computes their paths,
reads counters, kills, and removes what a crash left.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Driver(enum.StrEnum):
    """Who owns the tree: ferry writes directories itself, or systemd makes slices and scopes."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """How long tasks waited: microseconds since the start, percent of the last 10, 60, 300 s."""

    total: int
    avg10: float
    avg60: float
    avg300: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """Time in which some task waited for a resource, and in which all did (kernel: PSI)."""

    some: Stall | None = None
    full: Stall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIo:
    """What went to and from one block device; an operation is one request to it."""

    major: int
    minor: int
    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hugepages:
    """Bytes in huge pages of one size (`2MB`); None where the kernel does not keep the most."""

    page_size: str
    usage: int
    max_usage: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading of a cgroup. Units: bytes, nanoseconds, counts; None where not provided.

    `swap_usage` and `swap_limit` are of swap alone. Only a detailed reading has `pids` (it counts
    threads, as the controller does), `devices`, `hugepages`, and all of `extra`.
    """

    timestamp: int
    cpu_usage: int | None = None
    cpu_user: int | None = None
    cpu_system: int | None = None
    cpu_pressure: Pressure | None = None
    memory_usage: int | None = None
    memory_working_set: int | None = None
    memory_rss: int | None = None
    memory_limit: int | None = None
    memory_pressure: Pressure | None = None
    swap_usage: int | None = None
    swap_limit: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    io_pressure: Pressure | None = None
    pids: int | None = None
    extra: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[DeviceIo, ...] = ()
    hugepages: tuple[Hugepages, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the cgroup `directory` at one moment: what its files said, by their paths."""

    directory: str
    files: Mapping[str, str]


class CgroupPaths(Protocol):
    """Where things go; pure."""

    @property
    def driver(self) -> Driver:
        """The driver that is told to the kubelet in RuntimeConfig."""
        ...

    def check_parent(self, parent: str) -> None:
        """Raise InvalidArgumentError if `parent` does not fit the driver."""
        ...

    def sandbox(self, parent: str, sandbox_id: str) -> str:
        """Return the pod's cgroup: `parent`, or one of ferry's own when it is empty."""
        ...

    def container(self, pod: str, container_id: str) -> str:
        """Return `linux.cgroupsPath` for an OCI spec (a path, or `slice:prefix:id`)."""
        ...

    def directory(self, cgroups_path: str) -> str:
        """Return the path below a hierarchy's root that a `linux.cgroupsPath` leads to."""
        ...


class Cgroups(Protocol):
    """Reading and acting, by the path that `CgroupPaths.directory` gives. Blocking, quick."""

    @property
    def version(self) -> int:
        """1 (also for hybrid layouts) or 2."""
        ...

    def read(self, directory: str, *, detailed: bool = False) -> Counters:
        """Read the counters; NotFoundError if the cgroup is gone.

        A plain reading has what lists of statistics show and opens as few files as that takes; a
        detailed one has all that the kernel gives, for some twice the time.
        """
        ...

    def limits(self, directory: str, unified: Iterable[str] = ()) -> Limits:
        """Return all limits that an update may change; NotFoundError if the cgroup is gone.

        `unified` are further files of the cgroup that the update names (v2 only).
        """
        ...

    def restore(self, limits: Limits) -> None:
        """Put back every limit that is another by now; a cgroup that is gone is no error.

        Raises:
            Error: the kernel refuses one; names the file, what it had and what it has.
        """
        ...

    def oom_kills(self, directory: str) -> int | None:
        """Return how many processes the kernel killed for memory there; None if it is gone."""
        ...

    def pids(self, directory: str) -> list[int]:
        """Return the processes at and below; empty if it is gone."""
        ...

    def processes(self, directory: str) -> list[int]:
        """Return the processes at and below that this PID namespace sees, from one hierarchy.

        For counting: quicker than `pids`, which misses nobody after a crash.
        """
        ...

    def kill(self, directory: str) -> None:
        """SIGKILL every process at and below, also ones that fork meanwhile; idempotent."""
        ...

    def remove(self, directory: str) -> None:
        """Remove the empty cgroup and its children in every hierarchy; idempotent.

        Raises:
            FailedPreconditionError: processes are in it; names them.
        """
        ...
