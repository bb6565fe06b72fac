"""Names of block devices, and the filesystem that a path is on."""

import os
from pathlib import Path
from typing import Final

from runtime.stats import Filesystem

_SYS: Final = Path("/sys")
_MOUNTINFO: Final = Path("/proc/self/mountinfo")


class Devices:
    """Remembers names: a number keeps its device as long as that is there."""

    def __init__(self, sys: Path = _SYS) -> None:
        self._sys = sys
        self._names: dict[tuple[int, int], str] = {}

    def name(self, major: int, minor: int) -> str:
        """Return the path of a block device; `8:0` if the kernel has no name for it."""
        known = self._names.get((major, minor))
        if known is None:
            known = self._names[major, minor] = self._look(f"{major}:{minor}")
        return known

    def _look(self, number: str) -> str:
        """Follow /sys/dev/block; there, `!` stands for the slash of names such as `cciss/c0d0`."""
        try:
            target = (self._sys / "dev/block" / number).readlink()
        except OSError:
            return number
        return f"/dev/{target.name.replace('!', '/')}"


def filesystem(path: Path, mountinfo: Path = _MOUNTINFO) -> Filesystem:
    """Return what statfs(2) says of the filesystem of `path`, and what is mounted there. Blocking.

    Raises:
        OSError: the path is not there, or its filesystem does not answer.
    """
    found = os.statvfs(path)
    number = path.stat().st_dev
    return Filesystem(
        mountpoint=str(path),
        device=_source(mountinfo.read_text(), f"{os.major(number)}:{os.minor(number)}"),
        size=found.f_blocks * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
    )


def _source(mountinfo: str, number: str) -> str:
    """Return the source of the first mount of a device (proc_pid_mountinfo(5)), or its number."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if separator and before.split()[2] == number:
            return after.split()[1]
    return number
