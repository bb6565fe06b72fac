"""Where the values of metrics come from.

Each function returns what takes its values out of the facts. One that finds nothing yields
nothing: what the kernel or the pod does not have is left out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from runtime.cgroups import Counters, DeviceIo, Hugepages, Pressure, Stall
from runtime.stats import ContainerDetails, Files, Filesystem, Interface, Network

_SECOND: Final = 1_000_000_000
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to know of one container, or of a pod as a whole (then without `details`)."""

    counters: Counters | None = None
    processes: int | None = None
    network: Network | None = None
    details: ContainerDetails | None = None
    filesystem: Filesystem | None = None
    device: Callable[[int, int], str] = "{}:{}".format


Value = tuple[tuple[str, ...], int]
"""The values of a metric's own labels, and the number."""

Read = Callable[[Facts], Iterable[Value]]
"""Takes the values of one metric."""


def _one(number: int | None, *labels: str) -> Iterator[Value]:
    if number is not None:
        yield labels, number


def seconds(nanoseconds: int | None) -> int | None:
    """Return whole seconds."""
    return None if nanoseconds is None else nanoseconds // _SECOND


def of(take: Callable[[Counters], int | None], *labels: str) -> Read:
    """Take one number from the counters."""
    return lambda facts: _one(take(facts.counters) if facts.counters else None, *labels)


def extra(name: str) -> Read:
    """Take one of the further counters."""
    return of(lambda counters: counters.extra.get(name))


def stalled(
    take: Callable[[Counters], Pressure | None], kind: Callable[[Pressure], Stall | None]
) -> Read:
    """Take the seconds that some or all tasks had to wait for a resource."""

    def total(counters: Counters) -> int | None:
        pressure = take(counters)
        stall = kind(pressure) if pressure else None
        return stall.total // _MICROSECONDS if stall else None

    return of(total)


def memory_limit(counters: Counters) -> int | None:
    """Return the limit, 0 without one."""
    return None if counters.memory_usage is None else counters.memory_limit or 0


def threads_max(counters: Counters) -> int | None:
    """Return how many threads may run, 0 for any number."""
    return None if counters.pids is None else counters.extra.get("pids_max", 0)


def page_faults(facts: Facts) -> Iterator[Value]:
    """Yield all page faults, and the major ones."""
    if facts.counters:
        yield from _one(facts.counters.page_faults, "pgfault", "container")
        yield from _one(facts.counters.major_page_faults, "pgmajfault", "container")


def cpu_shares(facts: Facts) -> Iterator[Value]:
    """Yield the shares of v1; v2 has weights, so there it is what the container was given."""
    counted = facts.counters.extra.get("cpu_shares") if facts.counters else None
    given = facts.details.stats.status.container.resources.cpu_shares if facts.details else 0
    yield from _one(counted or given or None)


def cpu_quota(facts: Facts) -> Iterator[Value]:
    """Yield the quota if there is one."""
    quota = facts.counters.extra.get("cpu_quota", -1) if facts.counters else -1
    yield from _one(quota if quota > 0 else None)


def io(take: Callable[[DeviceIo], int]) -> Read:
    """Take one number of each block device."""

    def read(facts: Facts) -> Iterator[Value]:
        for one in facts.counters.devices if facts.counters else ():
            yield (facts.device(one.major, one.minor),), take(one)

    return read


def blkio(facts: Facts) -> Iterator[Value]:
    """Yield the bytes of each block device by operation."""
    for one in facts.counters.devices if facts.counters else ():
        place = (facts.device(one.major, one.minor), str(one.major), str(one.minor))
        yield (*place, "Read"), one.read_bytes
        yield (*place, "Write"), one.written_bytes


def hugepages(take: Callable[[Hugepages], int | None]) -> Read:
    """Take one number of each size of huge pages."""

    def read(facts: Facts) -> Iterator[Value]:
        for pages in facts.counters.hugepages if facts.counters else ():
            yield from _one(take(pages), pages.page_size)

    return read


def interfaces(take: Callable[[Interface], int]) -> Read:
    """Take one number of each interface of a pod."""

    def read(facts: Facts) -> Iterator[Value]:
        for one in facts.network.interfaces if facts.network else ():
            yield (one.name,), take(one)

    return read


def filesystem(take: Callable[[Filesystem], int]) -> Read:
    """Take one number of the filesystem that a container writes to."""

    def read(facts: Facts) -> Iterator[Value]:
        if facts.details and facts.filesystem:
            yield (facts.filesystem.device,), take(facts.filesystem)

    return read


def layer(facts: Facts) -> Iterator[Value]:
    """Yield what a container has written, once it was measured."""
    written = facts.details.stats.layer if facts.details else None
    if written and facts.filesystem:
        yield (facts.filesystem.device,), written.bytes


def processes(facts: Facts) -> Iterator[Value]:
    """Yield how many processes there are."""
    return _one(facts.processes)


def files(take: Callable[[Files], int | None], *labels: str) -> Read:
    """Take one number of what a container's processes have open."""

    def read(facts: Facts) -> Iterator[Value]:
        if facts.details and facts.details.files:
            yield from _one(take(facts.details.files), *labels)

    return read


def last_seen(facts: Facts) -> Iterator[Value]:
    """Yield when a container was looked at."""
    if facts.details and facts.counters:
        yield from _one(seconds(facts.counters.timestamp))


def started(facts: Facts) -> Iterator[Value]:
    """Yield when a container was started, or made if it was not started yet."""
    if facts.details:
        status = facts.details.stats.status
        yield from _one(seconds(status.started_at or status.created_at))
