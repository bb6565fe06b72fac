"""Laying layers over each other by copying, for file systems that overlayfs cannot do it on."""

import asyncio
import contextlib
import os
import stat
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from store import errors
from store.files import explained
from store.threads import in_thread
from store.trees import remove_tree

_OPAQUE: Final = "trusted.overlay.opaque"


@dataclass(slots=True)
class _Marks:
    """What overlayfs would have hidden, relative to the layer: files, and marked directories."""

    whiteouts: list[Path] = field(default_factory=list)
    opaque: list[Path] = field(default_factory=list)


async def merge(layer: Path, target: Path) -> None:
    """Lay a layer in overlayfs' form over the tree `target`.

    Everything is copied as it is (owners, times, extended attributes, links, devices), sharing
    blocks where the file system can.

    Raises:
        ResourceExhaustedError: the disk is full; `target` is then of no use.
    """
    marks = await in_thread(_clear, layer, target)
    await _copy(layer, target)
    await in_thread(_unmark, target, marks)


def _clear(layer: Path, target: Path) -> _Marks:
    """Remove from `target` what the layer hides or replaces by another type."""
    marks = _Marks()
    with explained(f"merge {layer} into {target}"):
        for relative, found in _walk(layer):
            directory = stat.S_ISDIR(found.st_mode)
            opaque = directory and _is_opaque(layer / relative)
            if not directory or opaque or not _is_directory(target / relative):
                remove_tree(target / relative)
            if opaque:
                marks.opaque.append(relative)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                marks.whiteouts.append(relative)
    return marks


def _walk(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything below `top`, a directory before what is in it."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        for path in directory.iterdir():
            found = path.lstat()
            yield path.relative_to(top), found
            if stat.S_ISDIR(found.st_mode):
                waiting.append(path)


def _is_directory(path: Path) -> bool:
    """Tell whether `path` itself is a directory; links and what is not there are none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_opaque(directory: Path) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _unmark(target: Path, marks: _Marks) -> None:
    """Remove the copies of overlayfs' marks."""
    for relative in marks.whiteouts:
        remove_tree(target / relative)
    with explained(f"merge into {target}"):
        for relative in marks.opaque:
            os.removexattr(target / relative, _OPAQUE, follow_symlinks=False)


async def _copy(layer: Path, target: Path) -> None:
    with explained("start cp"):
        process = await asyncio.create_subprocess_exec(
            *("cp", "--archive", "--reflink=auto", "--", f"{layer}/.", f"{target}/"),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    try:
        _, said = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        text = said.decode("utf-8", "replace").strip().partition("\n")[0]
        full = "No space left" in text or "quota exceeded" in text
        kind = errors.ResourceExhaustedError if full else errors.Error
        raise kind(f"cannot copy {layer} to {target}: {text or process.returncode}")
