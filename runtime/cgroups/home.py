"""Where the daemon's helpers live when systemd runs it: in the cgroup of a unit beside its own.

`systemctl kill` and the clearing up before a start reach everything in a service's cgroup, so what
shall outlive the daemon must not stay there. A second unit, which only holds a cgroup that systemd
leaves to us (Delegate=yes), takes it in. It has a process, for systemd removes an empty cgroup.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from runtime.cgroups.detect import ROOT

UNIT: Final = "ferry-monitors.service"
_SERVICE: Final = ".service"


def beside(
    unit: str = UNIT, own: Path = Path("/proc/self/cgroup"), root: Path = ROOT
) -> tuple[Path, ...]:
    """Return `cgroup.procs` of `unit` in each hierarchy; none where systemd does not run us.

    Args:
        unit: a service that is in the same slice as this process's.
        own: this process's cgroups (cgroups(7)).
        root: where control groups are mounted.
    """
    return _found(_lines(own), unit, root)


def exposed(unit: str = UNIT, own: Path = Path("/proc/self/cgroup"), root: Path = ROOT) -> bool:
    """Tell whether systemd runs us, but not `unit`: helpers then stay in our own cgroup.

    Args:
        unit: see `beside`.
        own: see `beside`.
        root: see `beside`.
    """
    lines = _lines(own)
    return any(line.endswith(_SERVICE) for line in lines) and not _found(lines, unit, root)


def _lines(own: Path) -> list[str]:
    try:
        return own.read_text().splitlines()
    except OSError:
        return []


def _found(lines: Iterable[str], unit: str, root: Path) -> tuple[Path, ...]:
    return tuple(path for line in lines for path in _candidates(line, unit, root) if path.exists())


def _candidates(line: str, unit: str, root: Path) -> Iterator[Path]:
    """Yield where the unit's cgroup may be in the hierarchy of a line `number:controllers:path`."""
    _, controllers, path = line.split(":", 2)
    if not path.endswith(_SERVICE):
        return
    slice_ = Path(path).parent.relative_to("/")
    mounted = controllers.removeprefix("name=") or "unified"
    if not controllers:
        yield root / slice_ / unit / "cgroup.procs"
    yield root / mounted / slice_ / unit / "cgroup.procs"
