"""Control groups v1, also where a v2 tree is mounted beside them (hybrid).

Each controller is a hierarchy of its own, mounted at `<root>/<controller>`; names that are joined
(`cpu,cpuacct`) have symbolic links. Files: Documentation/admin-guide/cgroup-v1 of the kernel.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from runtime.cgroups import Counters, Hugepages, Limits, Pressure, text
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
from store.errors import Error, NotFoundError

_TICK: Final = 10_000_000
"""Nanoseconds in a tick of cpuacct.stat (USER_HZ is 100 on every architecture we run on)."""

_UNLIMITED: Final = 1 << 62
"""Limits above are "none": the kernel rounds its maximum down to a page."""

_CPU: Final = {
    "cpu_cfs_periods": "nr_periods",
    "cpu_cfs_throttled_periods": "nr_throttled",
    "cpu_cfs_throttled_ns": "throttled_time",
}
_MEMORY: Final = {"memory_cache": "total_cache", "memory_mapped_file": "total_mapped_file"}
_NUMBERS: Final = {
    "memory_failcnt": ("memory", "memory.failcnt"),
    "memory_max_usage": ("memory", "memory.max_usage_in_bytes"),
    "memory_kernel_usage": ("memory", "memory.kmem.usage_in_bytes"),
    "memory_reservation": ("memory", "memory.soft_limit_in_bytes"),
    "cpu_shares": ("cpu", "cpu.shares"),
    "cpu_quota": ("cpu", "cpu.cfs_quota_us"),
    "cpu_period": ("cpu", "cpu.cfs_period_us"),
    "pids_max": ("pids", "pids.max"),
}
_LIMITS: Final = (
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpuset", "cpuset.cpus"),
    ("cpuset", "cpuset.mems"),
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "memory.soft_limit_in_bytes"),
)
_BLKIO: Final = "blkio.throttle.io_service{}_recursive"


def _limited(value: int | None) -> int | None:
    return None if value is None or value >= _UNLIMITED else value


def _minus(value: int | None, part: int | None) -> int | None:
    return None if value is None or part is None else max(0, value - part)


class CgroupsV1:
    """`Cgroups` over `<root>/<controller>/<directory>`; `root` is where the tmpfs is mounted.

    `page_sizes` are those of huge pages that the hugetlb controller counts, such as `2MB`.
    """

    def __init__(
        self, root: Path = Path("/sys/fs/cgroup"), page_sizes: tuple[str, ...] = ()
    ) -> None:
        self._root = str(root)
        self._page_sizes = page_sizes
        # Beside v1, in a hybrid layout, the kernel tells pressure; runtimes join it there.
        self._unified = (root / "unified/cgroup.procs").exists()

    @property
    def version(self) -> int:
        """1."""
        return 1

    def read(self, directory: str, *, detailed: bool = False) -> Counters:
        """Read cpuacct and memory, in detail every controller; see `Cgroups.read`."""
        path = below("", directory)
        plain = self._plain(path)
        if plain.memory_usage is None and plain.cpu_usage is None:
            raise NotFoundError(f"cannot read cgroup {directory}: it is gone")
        return self._detailed(path, plain) if detailed else plain

    def _plain(self, path: str) -> Counters:
        memory = f"{self._root}/memory{path}"
        usage = read_int(f"{memory}/memory.usage_in_bytes")
        stat = read_table(f"{memory}/memory.stat")
        limit = _limited(read_int(f"{memory}/memory.limit_in_bytes"))
        both = _limited(read_int(f"{memory}/memory.memsw.limit_in_bytes"))
        return Counters(
            timestamp=time.time_ns(),
            cpu_usage=read_int(f"{self._root}/cpuacct{path}/cpuacct.usage"),
            cpu_pressure=self._pressure("cpu", path),
            memory_usage=usage,
            memory_working_set=_minus(usage, stat.get("total_inactive_file")),
            memory_rss=stat.get("total_rss"),
            memory_limit=limit,
            memory_pressure=self._pressure("memory", path),
            swap_usage=stat.get("total_swap"),
            swap_limit=_minus(both, limit),
            page_faults=stat.get("total_pgfault"),
            major_page_faults=stat.get("total_pgmajfault"),
            io_pressure=self._pressure("io", path),
            extra=picked(stat, _MEMORY),
        )

    def limits(self, directory: str, unified: Iterable[str] = ()) -> Limits:
        """See `Cgroups.limits`; v1 has no `unified` files."""
        del unified
        found = saved(f"{self._at(controller, directory)}/{file}" for controller, file in _LIMITS)
        if not found:
            raise NotFoundError(f"cannot read the limits of cgroup {directory}: it is gone")
        return Limits(directory=directory, files=found)

    def restore(self, limits: Limits) -> None:
        """See `Cgroups.restore`."""
        put_back(limits.files)

    def oom_kills(self, directory: str) -> int | None:
        """Return `oom_kill` of memory.oom_control (Linux 4.13)."""
        control = f"{self._at('memory', directory)}/memory.oom_control"
        return read_table(control).get("oom_kill")

    def pids(self, directory: str) -> list[int]:
        """Return the processes in any hierarchy: a crash may leave one in some of them only."""
        return processes(self._tops(directory))

    def processes(self, directory: str) -> list[int]:
        """Return the processes that the pids controller counts."""
        return processes([self._at("pids", directory)])

    def kill(self, directory: str) -> None:
        """Kill in rounds, with the freezer's help against fork bombs."""
        state = f"{self._at('freezer', directory)}/freezer.state"

        def freeze(on: bool) -> None:  # noqa: FBT001 - a switch's position
            write(state, "FROZEN" if on else "THAWED")

        kill_all(lambda: self.pids(directory), freeze, directory)

    def remove(self, directory: str) -> None:
        """Remove it in every hierarchy, the unified one of a hybrid layout included."""
        for top in self._tops(directory):
            remove_tree(top)

    def _at(self, controller: str, directory: str) -> str:
        return below(f"{self._root}/{controller}", directory)

    def _tops(self, directory: str) -> Iterator[str]:
        try:
            hierarchies = sorted(Path(self._root).iterdir())
        except OSError as error:
            raise Error(f"cannot list {self._root}: {error.strerror}") from error
        for hierarchy in hierarchies:
            if not hierarchy.is_symlink() and (hierarchy / "cgroup.procs").exists():
                yield below(str(hierarchy), directory)

    def _pressure(self, resource: str, path: str) -> Pressure | None:
        if not self._unified:
            return None
        return read_pressure(f"{self._root}/unified{path}/{resource}.pressure")

    def _detailed(self, path: str, plain: Counters) -> Counters:
        user, system = self._cpu_times(path)
        blkio = f"{self._root}/blkio{path}/{_BLKIO}"
        size, operations = (read_text(blkio.format(what)) or "" for what in ("_bytes", "d"))
        return replace(
            plain,
            cpu_user=user,
            cpu_system=system,
            pids=read_int(f"{self._root}/pids{path}/pids.current"),
            extra={**plain.extra, **self._extra(path)},
            devices=text.blkio(size, operations),
            hugepages=tuple(self._hugepages(path)),
        )

    def _cpu_times(self, path: str) -> tuple[int | None, int | None]:
        """Return user and system time; kernels before 4.6 only count them in ticks."""
        cpuacct = f"{self._root}/cpuacct{path}"
        user, system = (read_int(f"{cpuacct}/cpuacct.usage_{kind}") for kind in ("user", "sys"))
        if user is not None and system is not None:
            return user, system
        ticks = read_table(f"{cpuacct}/cpuacct.stat")
        return (ticks["user"] * _TICK, ticks["system"] * _TICK) if len(ticks) == 2 else (None, None)

    def _extra(self, path: str) -> dict[str, int]:
        numbers = read_numbers(
            {
                name: f"{self._root}/{controller}{path}/{file}"
                for name, (controller, file) in _NUMBERS.items()
            }
        )
        if numbers.get("memory_reservation", 0) >= _UNLIMITED:
            del numbers["memory_reservation"]
        control = read_table(f"{self._root}/memory{path}/memory.oom_control")
        return {
            **picked(read_table(f"{self._root}/cpu{path}/cpu.stat"), _CPU),
            **picked(control, {"oom_kills": "oom_kill"}),
            **numbers,
        }

    def _hugepages(self, path: str) -> Iterator[Hugepages]:
        for size in self._page_sizes:
            file = f"{self._root}/hugetlb{path}/hugetlb.{size}"
            usage = read_int(f"{file}.usage_in_bytes")
            if usage is not None:
                most = read_int(f"{file}.max_usage_in_bytes")
                yield Hugepages(page_size=size, usage=usage, max_usage=most)
