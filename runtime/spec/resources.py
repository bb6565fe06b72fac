"""Limits: checked, merged on update, and in the forms that OCI runtimes take.

0 and empty mean "not set" in CRI, so a limit can be changed but never taken back by leaving it
out; -1 stands for "no limit" of quota, memory and swap.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from runtime.spec import HostFacts, Json, Resources
from store.errors import FailedPreconditionError, InvalidArgumentError

_PERIODS: Final = range(1_000, 1_000_001)
_LOWEST_QUOTA: Final = 1_000
_UNLIMITED: Final = -1
_CPUSET: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_UNIFIED: Final = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_]+)+")


def _refuse(field: str, value: object, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"cannot use resources.{field} {value}: {why}")


def _check_cpu(resources: Resources) -> None:
    period, quota = resources.cpu_period, resources.cpu_quota
    if resources.cpu_shares < 0:
        raise _refuse("cpu_shares", resources.cpu_shares, "negative")
    if period and period not in _PERIODS:
        raise _refuse("cpu_period", period, "must be from 1000 to 1000000 microseconds")
    if quota not in (0, _UNLIMITED) and quota < _LOWEST_QUOTA:
        raise _refuse("cpu_quota", quota, "must be -1 or at least 1000 microseconds")
    for field, value in (
        ("cpuset_cpus", resources.cpuset_cpus),
        ("cpuset_mems", resources.cpuset_mems),
    ):
        if value and not _CPUSET.fullmatch(value):
            raise _refuse(field, repr(value), "must be a list such as 0-2,7")


def _check_memory(resources: Resources) -> None:
    limit, swap = resources.memory_limit, resources.memory_swap_limit
    if limit < _UNLIMITED:
        raise _refuse("memory_limit_in_bytes", limit, "negative")
    if swap < _UNLIMITED:
        raise _refuse("memory_swap_limit_in_bytes", swap, "negative")
    if limit > 0 and 0 < swap < limit:
        raise _refuse("memory_swap_limit_in_bytes", swap, f"below the memory limit {limit}")


def _check_hugepages(resources: Resources, host: HostFacts) -> None:
    for page in resources.hugepages:
        if page.limit < 0:
            raise _refuse(f"hugepage_limits[{page.page_size}]", page.limit, "negative")
        if page.limit and not host.hugepage_sizes:
            raise FailedPreconditionError(
                f"cannot limit hugepages of {page.page_size}: this node has no hugetlb controller"
            )
        if page.limit and page.page_size not in host.hugepage_sizes:
            known = ", ".join(host.hugepage_sizes)
            raise _refuse("hugepage_limits", page.page_size, f"this node has {known}")


def _check_unified(resources: Resources, host: HostFacts) -> None:
    if resources.unified and host.cgroup_version != 2:
        raise FailedPreconditionError(
            f"cannot set resources.unified {sorted(resources.unified)}: this node has cgroup v1"
        )
    for name in resources.unified:
        if not _UNIFIED.fullmatch(name):
            raise _refuse("unified", repr(name), "not the name of a cgroup file")


def check(resources: Resources, host: HostFacts) -> None:
    """Refuse what no kernel or not this node can do.

    Raises:
        InvalidArgumentError: a value that can never work; names the field.
        FailedPreconditionError: this node lacks what it takes.
    """
    _check_cpu(resources)
    _check_memory(resources)
    _check_hugepages(resources, host)
    _check_unified(resources, host)


def _given(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    return {name: value for name, value in pairs if value}


def _cpu(resources: Resources) -> dict[str, Json]:
    return _given(
        (
            ("shares", resources.cpu_shares),
            ("quota", resources.cpu_quota),
            ("period", resources.cpu_period),
            ("cpus", resources.cpuset_cpus),
            ("mems", resources.cpuset_mems),
        )
    )


def _memory(resources: Resources, host: HostFacts) -> dict[str, Json]:
    """Return the limits; with no swap limit asked for, a limited container gets no swap at all."""
    limit = resources.memory_limit
    swap = (resources.memory_swap_limit or limit) if host.swap_accounting else 0
    return _given((("limit", limit), ("swap", swap)))


def _hugepages(resources: Resources, host: HostFacts) -> list[Json]:
    """Return a limit for every size there is: what was not asked for may not be used."""
    asked = {page.page_size: page.limit for page in resources.hugepages}
    return [{"pageSize": size, "limit": asked.get(size, 0)} for size in host.hugepage_sizes]


def document(resources: Resources, host: HostFacts) -> dict[str, Json]:
    """Return `linux.resources` but for its devices; see `check` for what it raises."""
    check(resources, host)
    return _given(
        (
            ("cpu", _cpu(resources)),
            ("memory", _memory(resources, host)),
            ("hugepageLimits", _hugepages(resources, host)),
            ("unified", dict(resources.unified)),
        )
    )


def update_document(resources: Resources, host: HostFacts) -> dict[str, Json]:
    """Return what `runc update -r -` and `crun update -r -` read, without hugepages."""
    check(resources, host)
    return _given(
        (
            ("cpu", _cpu(resources)),
            ("memory", _memory(resources, host)),
            ("unified", dict(resources.unified)),
        )
    )


def merge_resources(current: Resources, update: Resources) -> Resources:
    """Return `current` with everything that `update` sets.

    The score for the OOM killer stays: it belongs to a process, and 0 says nothing about it.

    Raises:
        InvalidArgumentError: `update` has other hugepages, which no OCI runtime changes later.
    """
    _check_same_hugepages(current, update)
    return replace(
        current,
        cpu_period=update.cpu_period or current.cpu_period,
        cpu_quota=update.cpu_quota or current.cpu_quota,
        cpu_shares=update.cpu_shares or current.cpu_shares,
        memory_limit=update.memory_limit or current.memory_limit,
        memory_swap_limit=update.memory_swap_limit or _moved_swap(current, update.memory_limit),
        cpuset_cpus=update.cpuset_cpus or current.cpuset_cpus,
        cpuset_mems=update.cpuset_mems or current.cpuset_mems,
        unified={**current.unified, **update.unified},
    )


def _check_same_hugepages(current: Resources, update: Resources) -> None:
    given = {page.page_size: page.limit for page in current.hugepages}
    for page in update.hugepages:
        if page.limit != given.get(page.page_size, 0):
            raise _refuse(
                f"hugepage_limits[{page.page_size}]", page.limit, "cannot change in a container"
            )


def _moved_swap(current: Resources, limit: int) -> int:
    """Return the limit of memory and swap beside a new one of memory: as much swap as before."""
    both = current.memory_swap_limit
    if both <= 0 or limit <= 0 or current.memory_limit <= 0:
        return both
    return limit + both - current.memory_limit
