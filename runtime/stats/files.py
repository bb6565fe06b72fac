"""What processes have open, from /proc; blocking, and nothing is entered or started."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from runtime.stats import Files

LINKS: Final = 20_000
"""Of so many descriptors at most is looked at what they are; sockets beyond are not counted."""

_PROC: Final = Path("/proc")
_OPEN_FILES: Final = re.compile(r"^Max open files\s+(\d+)\s", re.MULTILINE)


def opened(pids: Iterable[int], first: int, proc: Path = _PROC) -> Files | None:
    """Return what `pids` have open together, and the limit of `first`.

    None if that may not be seen. Processes that end meanwhile do not count.
    """
    descriptors, sockets = 0, 0
    for pid in pids:
        directory = f"{proc}/{pid}/fd"
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries]
            descriptors += len(names)
            if descriptors <= LINKS:
                sockets += sum(_is_socket(f"{directory}/{name}") for name in names)
        except PermissionError:
            return None
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Files(
        descriptors=descriptors,
        sockets=sockets if descriptors <= LINKS else None,
        soft_limit=_soft_limit(first, proc),
    )


def _is_socket(path: str) -> bool:
    try:
        return os.readlink(path).startswith("socket:")  # noqa: PTH115 - thousands, as text
    except FileNotFoundError:
        return False


def _soft_limit(pid: int, proc: Path) -> int | None:
    """Return RLIMIT_NOFILE of a process; None if it is gone or without limit."""
    try:
        found = _OPEN_FILES.search((proc / str(pid) / "limits").read_text())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return int(found[1]) if found else None
