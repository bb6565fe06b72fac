"""What a directory holds, for leak checks."""

from pathlib import Path


def listing(directory: Path) -> list[str]:
    """Return the names in `directory`, sorted."""
    return sorted(entry.name for entry in directory.iterdir())
