"""What a directory holds and what this process has open, for leak checks."""

import contextlib
from pathlib import Path


def listing(directory: Path) -> list[str]:
    """Return the names in `directory`, sorted."""
    return sorted(entry.name for entry in directory.iterdir())


def descriptors() -> set[tuple[str, str]]:
    """Return what this process has open: numbers, and what they refer to.

    Compare with `<=`: what earlier tests left to the garbage collector may close meanwhile.
    """
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        # The one that lists the directory is closed again.
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, str(path.readlink())))
    return found
