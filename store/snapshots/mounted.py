"""Which snapshots are mounted, by the kernel's own word.

When the record of a running container is damaged, nothing refers to its snapshot any more; the
mount still does. Format: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from store.files import explained

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def mounted(root: Path) -> set[int]:
    """Return the numbers of the directories below `root` that are part of a mount; for a thread."""
    with explained(f"read {_MOUNTINFO}"):
        text = _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    return numbers(text, root)


def numbers(mountinfo: str, root: Path) -> set[int]:
    """Return the numbers that `mountinfo` names below `root`; rather one too many than too few.

    Overlays name upper and lower directories by the path they were mounted with, which may have
    been below the mount point itself: `runtime.kernel.idmapped` lends it to the layers. A bind
    mount names its source by the path in its file system, of which `root` may be a mount point.
    """
    bind = re.compile(rf"/{re.escape(root.name)}/([0-9]+)/fs(?:/|$)")
    found: set[int] = set()
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        source, point = fields.split(" ")[3:5] if fields.count(" ") >= 4 else ("", "")
        if tail.startswith("overlay "):
            for place in (str(root), _unescaped(point)):
                found.update(_layers(_unescaped(tail), place))
        found.update(int(number) for number in bind.findall(_unescaped(source)))
    return found


def _layers(options: str, place: str) -> Iterator[int]:
    for number in re.findall(rf"[=:]{re.escape(place)}/([0-9]+)/fs(?=[:,\s]|$)", options):
        yield int(number)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
