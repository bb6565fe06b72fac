"""What a block of a test opens and starts, as the interpreter itself tells (PEP 578)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "subprocess.Popen"})


@dataclass(slots=True)
class Watched:
    """Paths that were opened below `root`, in order, and how many programs were started."""

    root: str
    opened: list[str] = field(default_factory=list)
    started: int = 0


_watching: list[Watched] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    """Note an event; a hook can never be taken away, so it does next to nothing otherwise."""
    for one in _watching:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(one.root):
                one.opened.append(path)
        elif event in _STARTS:
            one.started += 1


sys.addaudithook(_hook)


@contextmanager
def watched(root: Path) -> Iterator[Watched]:
    """Watch all threads for the block."""
    one = Watched(f"{root}/")
    _watching.append(one)
    try:
        yield one
    finally:
        _watching.remove(one)
