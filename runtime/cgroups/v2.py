"""Control groups v2: one hierarchy at `<root>`.

Files: Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from runtime.cgroups import Counters, Hugepages, Limits, text
from runtime.cgroups.files import (
    below,
    kill_all,
    picked,
    processes,
    read_int,
    read_numbers,
    read_pressure,
    read_table,
    read_text,
    remove_tree,
    write,
)
from runtime.cgroups.limits import put_back, saved
from store.errors import NotFoundError

_MICROSECOND: Final = 1000

_CPU: Final = {
    "cpu_cfs_periods": "nr_periods",
    "cpu_cfs_throttled_periods": "nr_throttled",
    "cpu_cfs_throttled_us": "throttled_usec",
}
_MEMORY: Final = {
    "memory_cache": "file",
    "memory_mapped_file": "file_mapped",
    "memory_kernel_usage": "kernel",
}
_EVENTS: Final = {"memory_failcnt": "max", "oom_kills": "oom_kill"}
_LIMITS: Final = (
    "cpu.weight",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "memory.max",
    "memory.swap.max",
    "memory.low",
)
_NUMBERS: Final = {
    "memory_max_usage": "memory.peak",
    "memory_reservation": "memory.low",
    "pids_max": "pids.max",
    "cpu_weight": "cpu.weight",
}


def _scaled(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds * _MICROSECOND


class CgroupsV2:
    """`Cgroups` over `<root>/<directory>`.

    `page_sizes` are those of huge pages that the hugetlb controller counts, such as `2MB`.
    """

    def __init__(
        self, root: Path = Path("/sys/fs/cgroup"), page_sizes: tuple[str, ...] = ()
    ) -> None:
        self._root = str(root)
        self._page_sizes = page_sizes

    @property
    def version(self) -> int:
        """2."""
        return 2

    def read(self, directory: str, *, detailed: bool = False) -> Counters:
        """Read cpu and memory, in detail every controller; see `Cgroups.read`."""
        top = below(self._root, directory)
        usage = read_int(f"{top}/memory.current")
        stat = read_table(f"{top}/memory.stat")
        cpu = read_table(f"{top}/cpu.stat")
        if not cpu and not Path(top).is_dir():
            raise NotFoundError(f"cannot read cgroup {directory}: it is gone")
        plain = Counters(
            timestamp=time.time_ns(),
            cpu_usage=_scaled(cpu.get("usage_usec")),
            cpu_user=_scaled(cpu.get("user_usec")),
            cpu_system=_scaled(cpu.get("system_usec")),
            cpu_pressure=read_pressure(f"{top}/cpu.pressure"),
            memory_usage=usage,
            memory_working_set=None
            if usage is None
            else max(0, usage - stat.get("inactive_file", 0)),
            memory_rss=stat.get("anon"),
            memory_limit=read_int(f"{top}/memory.max"),
            memory_pressure=read_pressure(f"{top}/memory.pressure"),
            swap_usage=read_int(f"{top}/memory.swap.current"),
            swap_limit=read_int(f"{top}/memory.swap.max"),
            page_faults=stat.get("pgfault"),
            major_page_faults=stat.get("pgmajfault"),
            io_pressure=read_pressure(f"{top}/io.pressure"),
            extra={**_throttling(cpu), **picked(stat, _MEMORY)},
        )
        return self._detailed(top, plain) if detailed else plain

    def limits(self, directory: str, unified: Iterable[str] = ()) -> Limits:
        """See `Cgroups.limits`."""
        top = below(self._root, directory)
        if not Path(top).is_dir():
            raise NotFoundError(f"cannot read the limits of cgroup {directory}: it is gone")
        names = dict.fromkeys((*_LIMITS, *unified))
        return Limits(directory=directory, files=saved(f"{top}/{name}" for name in names))

    def restore(self, limits: Limits) -> None:
        """See `Cgroups.restore`."""
        put_back(limits.files)

    def oom_kills(self, directory: str) -> int | None:
        """Return `oom_kill` of memory.events, which counts for everything below as well."""
        return read_table(f"{below(self._root, directory)}/memory.events").get("oom_kill")

    def pids(self, directory: str) -> list[int]:
        """Return the processes at and below."""
        return processes([below(self._root, directory)])

    def processes(self, directory: str) -> list[int]:
        """Return the processes at and below."""
        return self.pids(directory)

    def kill(self, directory: str) -> None:
        """Use cgroup.kill (Linux 5.14), else kill in rounds with the freezer's help."""
        top = below(self._root, directory)
        if write(f"{top}/cgroup.kill", "1"):
            return

        def freeze(on: bool) -> None:  # noqa: FBT001 - a switch's position
            write(f"{top}/cgroup.freeze", "1" if on else "0")

        kill_all(lambda: self.pids(directory), freeze, directory)

    def remove(self, directory: str) -> None:
        """Remove the cgroup and its children."""
        remove_tree(below(self._root, directory))

    def _detailed(self, top: str, plain: Counters) -> Counters:
        return replace(
            plain,
            pids=read_int(f"{top}/pids.current"),
            extra={
                **plain.extra,
                **_bandwidth(top),
                **picked(read_table(f"{top}/memory.events"), _EVENTS),
                **read_numbers({name: f"{top}/{file}" for name, file in _NUMBERS.items()}),
            },
            devices=text.io_stat(read_text(f"{top}/io.stat") or ""),
            hugepages=tuple(self._hugepages(top)),
        )

    def _hugepages(self, top: str) -> Iterator[Hugepages]:
        """Yield what is in use; v2 does not keep the most there ever was."""
        for size in self._page_sizes:
            usage = read_int(f"{top}/hugetlb.{size}.current")
            if usage is not None:
                yield Hugepages(page_size=size, usage=usage)


def _throttling(cpu: dict[str, int]) -> dict[str, int]:
    throttling = picked(cpu, _CPU)
    if "cpu_cfs_throttled_us" in throttling:
        throttled = throttling.pop("cpu_cfs_throttled_us")
        throttling["cpu_cfs_throttled_ns"] = throttled * _MICROSECOND
    return throttling


def _bandwidth(top: str) -> dict[str, int]:
    """Return quota and period from `cpu.max`; -1 is v1's word for no quota."""
    words = (read_text(f"{top}/cpu.max") or "").split()
    if len(words) != 2:
        return {}
    return {"cpu_quota": -1 if words[0] == "max" else int(words[0]), "cpu_period": int(words[1])}
