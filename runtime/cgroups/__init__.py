"""Control groups: paths for both drivers, and what is read and done by path: the contract.

What differs between v1 and v2 is in `v1` and `v2`; what differs between cgroupfs and systemd is in
`paths`. OCI runtimes create and remove the cgroups of containers; ferry computes their paths,
reads counters, kills, and removes what a crash left.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Driver(enum.StrEnum):
    """Who owns the tree: ferry writes directories itself, or systemd makes slices and scopes."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading of a cgroup. Units: bytes, nanoseconds, counts; None where not provided."""

    timestamp: int
    cpu_usage: int | None = None
    cpu_user: int | None = None
    cpu_system: int | None = None
    memory_usage: int | None = None
    memory_working_set: int | None = None
    memory_rss: int | None = None
    memory_limit: int | None = None
    swap_usage: int | None = None
    swap_limit: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    pids: int | None = None
    extra: Mapping[str, int] = field(default_factory=dict)


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

    def read(self, directory: str) -> Counters:
        """Read the counters; NotFoundError if the cgroup is gone."""
        ...

    def oom_kills(self, directory: str) -> int | None:
        """Return how many processes the kernel killed for memory there; None if it is gone."""
        ...

    def pids(self, directory: str) -> list[int]:
        """Return the processes at and below; empty if it is gone."""
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
