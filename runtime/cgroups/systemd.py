"""Control groups where systemd owns the tree: its slices are stopped, not only emptied.

An OCI runtime has systemd make a slice by starting a scope in it, and stops the scope with its
container; the slice, and its cgroup, would stay for ever.
"""

import posixpath
import subprocess
from typing import Final

from runtime.cgroups import Cgroups, Counters
from store.errors import Error

_SLICE: Final = ".slice"
_NOT_LOADED: Final = 5
_SECONDS: Final = 30.0


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
            self._stop(unit)

    def _stop(self, unit: str) -> None:
        argv = [self._systemctl, "stop", "--", unit]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Error(f"cannot stop {unit}: {error}") from error
        if done.returncode not in {0, _NOT_LOADED}:
            raise Error(f"cannot stop {unit}: {done.stderr.strip() or done.returncode}")
