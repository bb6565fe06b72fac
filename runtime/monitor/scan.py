"""Finding monitors that nobody remembers: one pass over /proc."""

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.kernel.processes import stat_fields
from runtime.pidfd import PROC

_OPTION = b"--persist-dir"


def monitors() -> Mapping[Path, int]:
    """Return the pid of each conmon by the directory it was given. Blocking: call from a thread.

    A monitor that has forked but not yet executed the runtime shows twice; the parent counts.
    """
    found: dict[Path, set[int]] = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - names, not paths, a thousand of them
        if name.isdigit():
            directory = _directory(int(name))
            if directory is not None:
                found.setdefault(directory, set()).add(int(name))
    return {directory: _eldest(pids) for directory, pids in found.items()}


def _directory(pid: int) -> Path | None:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile
        return None
    if not words[0].endswith(b"conmon") or _OPTION not in words:
        return None
    following = words[words.index(_OPTION) + 1 :]
    return Path(os.fsdecode(following[0])) if following else None


def _eldest(pids: set[int]) -> int:
    return next((pid for pid in pids if _parent(pid) not in pids), min(pids))


def _parent(pid: int) -> int:
    fields = stat_fields(pid)
    return 0 if fields is None else int(fields[1])
