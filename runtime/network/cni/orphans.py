"""Plugins that a killed daemon had started and that go on without it.

They must end before a DEL: an ADD that is still at work could take an address after it. A plugin,
and whatever it starts, has the sandbox's id in its environment, which tells them from all others.
Everything here blocks.
"""

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from runtime.pidfd import PROC, ProcessId, identify, kill
from store.errors import NotFoundError

_ROUND: Final = 0.005

_log = logging.getLogger(__name__)


def end(sandbox_ids: Collection[str], within: float = 5.0) -> None:
    """Kill every plugin that works on one of these sandboxes, and wait until it is gone."""
    marks = {f"CNI_CONTAINERID={id_}".encode() for id_ in sandbox_ids}
    deadline = time.monotonic() + within
    while marks and (found := _marked(marks)):
        if time.monotonic() > deadline:
            _log.warning("CNI plugins of an earlier daemon outlive SIGKILL: %s", found)
            return
        for process in found:
            kill(process)
        time.sleep(_ROUND)


def _marked(marks: set[bytes]) -> list[ProcessId]:
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and not marks.isdisjoint(_environment(entry)):
            try:
                found.append(identify(int(entry.name)))
            except NotFoundError:
                continue
    return found


def _environment(entry: Path) -> set[bytes]:
    """Return a process's variables; none of what has ended, or is another user's."""
    try:
        return set((entry / "environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
