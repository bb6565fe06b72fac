"""Control groups where systemd owns the tree: its slices are stopped, not only emptied.

An OCI runtime has systemd make a slice by starting a scope in it, and stops the scope with its
container; the slice, and its cgroup, would stay for ever.
"""

import posixpath
import subprocess
from collections.abc import Iterable, Mapping
from typing import Final

from runtime.cgroups import Cgroups, Counters, Limits
from runtime.cgroups.limits import differing
from store.errors import Error

_SLICE: Final = ".slice"
_NOT_LOADED: Final = 5
_SECONDS: Final = 30.0

_PROPERTIES: Final = {
    "cpu.weight": "CPUWeight",
    "cpuset.cpus": "AllowedCPUs",
    "cpuset.mems": "AllowedMemoryNodes",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.high": "MemoryHigh",
    "cpu.shares": "CPUShares",
    "memory.limit_in_bytes": "MemoryLimit",
}


class SystemdCgroups:
    """`Cgroups` over another one, for the systemd driver.

    Args:
        inner: reads and acts on the kernel's files.
        systemctl: the program that asks systemd.
    """

    def __init__(self, inner: Cgroups, systemctl: str = "systemctl") -> None:
        self._inner = inner
        self._systemctl = systemctl

    @property
    def version(self) -> int:
        """The version of the tree."""
        return self._inner.version

    def read(self, directory: str, *, detailed: bool = False) -> Counters:
        """See `Cgroups.read`."""
        return self._inner.read(directory, detailed=detailed)

    def limits(self, directory: str, unified: Iterable[str] = ()) -> Limits:
        """See `Cgroups.limits`."""
        return self._inner.limits(directory, unified)

    def restore(self, limits: Limits) -> None:
        """See `Cgroups.restore`; systemd, which writes a unit's limits again later, is told first.

        Raises:
            Error: also when systemd does not take them; quotes it.
        """
        changed = differing(limits.files)
        unit = posixpath.basename(limits.directory)
        told = properties({posixpath.basename(path): limits.files[path] for path in changed})
        try:
            if told:
                self._ask(
                    f"put back the limits of {unit}", "set-property", "--runtime", unit, *told
                )
        finally:
            self._inner.restore(limits)

    def oom_kills(self, directory: str) -> int | None:
        """See `Cgroups.oom_kills`."""
        return self._inner.oom_kills(directory)

    def pids(self, directory: str) -> list[int]:
        """See `Cgroups.pids`."""
        return self._inner.pids(directory)

    def processes(self, directory: str) -> list[int]:
        """See `Cgroups.processes`."""
        return self._inner.processes(directory)

    def kill(self, directory: str) -> None:
        """See `Cgroups.kill`."""
        self._inner.kill(directory)

    def remove(self, directory: str) -> None:
        """See `Cgroups.remove`; a slice is no unit of systemd's any more either.

        Raises:
            Error: systemd does not stop the slice; quotes it.
        """
        self._inner.remove(directory)
        unit = posixpath.basename(directory)
        if unit.endswith(_SLICE):
            self._ask(f"stop {unit}", "stop", "--", unit)

    def _ask(self, what: str, *words: str) -> None:
        try:
            done = subprocess.run(
                [self._systemctl, *words],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Error(f"cannot {what}: {error}") from error
        if done.returncode not in {0, _NOT_LOADED}:
            raise Error(f"cannot {what}: {done.stderr.strip() or done.returncode}")


def properties(files: Mapping[str, str]) -> list[str]:
    """Return a unit's properties that mean what these files of its cgroup say; pure.

    Names: systemd.resource-control(5). A file without a property has none to be told of.
    """
    found = [
        f"{_PROPERTIES[name]}={_value(text)}" for name, text in files.items() if name in _PROPERTIES
    ]
    bandwidth = files.get("cpu.max", "").split()
    if len(bandwidth) == 2:
        quota, period = bandwidth
        share = f"{int(quota) * 100 / int(period):g}%" if quota.isdigit() else ""
        found += [f"CPUQuota={share}", f"CPUQuotaPeriodSec={period}us"]
    return found


def _value(text: str) -> str:
    word = text.strip()
    return "infinity" if word == "max" else word
