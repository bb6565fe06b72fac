"""Which of an image's variants runs here (OCI image specification, image-index.md).

`choose` is pure: it ranks what an index offers for a wanted platform. A processor runs the older
variants of its architecture too, newest preferred.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and a processor, in Go's words. Empty parts are not specified."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part) + (
            self.os_version and f":{self.os_version}"
        )


T = TypeVar("T")

_MACHINES: Final = {
    "x86_64": ("amd64", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_RUNS: Final = {
    "amd64": ("v4", "v3", "v2", "v1"),
    "arm": ("v8", "v7", "v6", "v5"),
    "arm64": ("v9", "v8"),
}
_PLAIN: Final = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
"""What an architecture without a variant means."""

# The x86-64 psABI's levels, each on top of the one before.
_X86_LEVELS: Final = (
    ("v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}),
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


def parse(text: str) -> Platform:
    """Return `os/architecture[/variant]`, as a configuration has checked it, as a platform."""
    os_name, architecture, variant = (*text.split("/"), "")[:3]
    return Platform(os=os_name, architecture=architecture, variant=variant)


def host() -> Platform:
    """Return the platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    if architecture == "amd64":
        variant = _x86_level(Path("/proc/cpuinfo").read_text())
    return Platform(os="linux", architecture=architecture, variant=variant)


def choose(offers: Sequence[tuple[Platform | None, T]], wanted: Platform) -> T | None:
    """Return the offer that fits `wanted` best, the earlier one of equals, or None.

    An offer without a platform says nothing about itself and is taken only if no other fits.
    """
    ranked = [(rank(platform, wanted), offer) for platform, offer in offers]
    fitting = [pair for pair in ranked if pair[0] is not None]
    return min(fitting, key=lambda pair: pair[0] or (0, 0))[1] if fitting else None


def rank(offer: Platform | None, wanted: Platform) -> tuple[int, int] | None:
    """Return how well `offer` serves `wanted`, less being better, or None if it does not run."""
    if offer is None:
        return (1000, 0)
    if (offer.os, offer.architecture) != (wanted.os, wanted.architecture):
        return None
    distance = _distance(wanted.architecture, offer.variant, wanted.variant)
    if distance is None or not _version_fits(offer.os_version, wanted.os_version):
        return None
    return (distance, int(offer.os_version != wanted.os_version))


def _distance(architecture: str, offered: str, wanted: str) -> int | None:
    plain = _PLAIN.get(architecture, "")
    offered, wanted = offered or plain, wanted or plain
    if offered == wanted:
        return 0
    order = _RUNS.get(architecture, ())
    if offered not in order or wanted not in order:
        return None
    steps = order.index(offered) - order.index(wanted)
    return steps if steps > 0 else None


def _version_fits(offered: str, wanted: str) -> bool:
    """Tell whether a system version serves; only Windows gives one, and needs the same build."""
    return not wanted or not offered or offered == wanted or offered.startswith(f"{wanted}.")


def _x86_level(cpuinfo: str) -> str:
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    flags = set(line.partition(":")[2].split())
    level = "v1"
    for name, needed in _X86_LEVELS:
        if not needed <= flags:
            break
        level = name
    return level
