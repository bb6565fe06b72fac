"""What this node can do for containers, gathered once at start."""

import platform
import re
from pathlib import Path
from typing import Final

from runtime.cgroups.detect import CgroupLayout
from runtime.spec import HostFacts
from runtime.spec.capabilities import KNOWN
from store.errors import Error

_RECURSIVE_READONLY_SINCE: Final = (5, 12)
_LOWEST_SCORE: Final = -1000
_SYS_RESOURCE: Final = "CAP_SYS_RESOURCE"
_UNITS: Final = ((1 << 20, "GB"), (1 << 10, "MB"), (1, "KB"))


def parse_capabilities(status: str) -> tuple[str, ...]:
    """Return what a /proc/PID/status shows as permitted within the bounding set."""
    masks = dict(re.findall(r"^(Cap\w+):\s+([0-9a-f]+)$", status, re.MULTILINE))
    held = int(masks.get("CapBnd", "0"), 16) & int(masks.get("CapPrm", "0"), 16)
    return tuple(name for number, name in enumerate(KNOWN) if held >> number & 1)


def page_size_name(kilobytes: int) -> str:
    """Return a hugepage size as Kubernetes and the OCI spec call it, such as `2MB`."""
    divisor, unit = next(pair for pair in _UNITS if kilobytes % pair[0] == 0)
    return f"{kilobytes // divisor}{unit}"


def _hugepage_sizes(root: Path) -> tuple[str, ...]:
    found = re.findall(r"hugepages-(\d+)kB", " ".join(path.name for path in root.glob("*")))
    return tuple(page_size_name(size) for size in sorted(int(text) for text in found))


def _kernel(release: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _swap_accounting(layout: CgroupLayout) -> bool:
    """Tell whether swap can be limited; the root of a v2 tree has no such file, its children do."""
    if layout.version == 1:
        return (layout.root / "memory" / "memory.memsw.limit_in_bytes").exists()
    return any(layout.root.glob("*/memory.swap.max"))


def _score_floor(capabilities: tuple[str, ...], proc: Path) -> int:
    if _SYS_RESOURCE in capabilities:
        return _LOWEST_SCORE
    return int((proc / "oom_score_adj").read_text())


def gather(
    layout: CgroupLayout,
    *,
    apparmor_default: str = "",
    proc: Path = Path("/proc/self"),
    sys: Path = Path("/sys"),
) -> HostFacts:
    """Return the facts. Blocking, some milliseconds.

    Args:
        layout: of `runtime.cgroups.detect`.
        apparmor_default: the loaded profile for RuntimeDefault, if there is one.
        proc: this process's directory in /proc.
        sys: where sysfs is mounted.

    Raises:
        Error: /proc cannot be read.
    """
    try:
        capabilities = parse_capabilities((proc / "status").read_text())
        floor = _score_floor(capabilities, proc)
    except OSError as error:
        raise Error(f"cannot read {error.filename}: {error.strerror}") from error
    hugetlb = "hugetlb" in layout.controllers
    return HostFacts(
        cgroup_version=layout.version,
        oom_score_floor=floor,
        capabilities=capabilities,
        apparmor=_enabled(sys / "module/apparmor/parameters/enabled"),
        apparmor_default=apparmor_default,
        selinux=(sys / "fs/selinux/enforce").exists(),
        recursive_readonly=_kernel(platform.release()) >= _RECURSIVE_READONLY_SINCE,
        swap_accounting=_swap_accounting(layout),
        hugepage_sizes=_hugepage_sizes(sys / "kernel/mm/hugepages") if hugetlb else (),
    )


def _enabled(parameter: Path) -> bool:
    try:
        return parameter.read_text().startswith("Y")
    except OSError:
        return False
