"""A layer out of what has changed: the reverse of applying one.

`of_upper` reads what overlayfs keeps of changes, `of_trees` compares two directories. Both yield
the bytes of an uncompressed layer, in a fixed order, with every parent described: applied to the
same lower tree they give the same upper one. Sockets are left out, and hard links are kept among
the files that are in the layer. They block: run them in a thread.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from store.errors import FailedPreconditionError
from store.images.layers import Entry, Kind, beneath, shown, writer
from store.images.layers.merged import is_opaque
from store.images.layers.names import OPAQUE, WHITEOUT
from store.images.layers.nodes import Nodes
from store.images.layers.tree import is_whiteout

_SECOND: Final = 1_000_000_000
_ELSEWHERE: Final = frozenset({"trusted.overlay.redirect", "trusted.overlay.metacopy"})


def of_upper(upper: Path) -> Iterator[bytes]:
    """Yield the layer that the upper directory of an overlay mount amounts to.

    Raises:
        FailedPreconditionError: overlayfs was allowed to note renames or to copy metadata only, so
            the directory does not hold all that changed.
        UnavailableError: a file is being changed.
        OSError: the directory cannot be read.
    """
    with _opened(upper) as root:
        layer = _Layer(root)
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            status = root.look(path)
            if status is None:
                continue
            if is_whiteout(status):
                yield from layer.whiteout(path)
                continue
            _require_whole(root, path, status)
            yield from layer.add(path, status)
            if stat.S_ISDIR(status.st_mode):
                if _opaque(root, path):
                    yield from layer.opaque(path)
                waiting += [_join(path, name) for name in reversed(root.names(path))]
        yield writer.END


def of_trees(lower: Path, upper: Path) -> Iterator[bytes]:
    """Yield the layer that makes `upper` out of `lower`.

    Files of the same size, owner, mode, attributes and time are taken to be the same, and read
    only if the time has no fraction of a second, as files out of archives do.

    Raises:
        UnavailableError: a file is being changed.
        OSError: a directory cannot be read.
    """
    with _opened(lower) as old, _opened(upper) as new:
        layer = _Layer(new)
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            before, after = old.look(path), new.look(path)
            if after is None or stat.S_ISSOCK(after.st_mode):
                if before is not None:
                    yield from layer.whiteout(path)
                continue
            if before is None or not _same(old, before, new, after, path):
                yield from layer.add(path, after)
            if stat.S_ISDIR(after.st_mode):
                names = set(new.names(path))
                if before is not None and stat.S_ISDIR(before.st_mode):
                    names.update(old.names(path))
                waiting += [_join(path, name) for name in sorted(names, reverse=True)]
        yield writer.END


class _Layer:
    """The archive so far: which directories it describes, and where it has an inode."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._described: set[bytes] = set()
        self._firsts: dict[tuple[int, int], bytes] = {}

    def add(self, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        """Yield the entry for `path`, and its content."""
        entry = self._nodes.entry(path, status)
        if entry is None:
            return
        yield from self._parents(path)
        if entry.kind is Kind.DIRECTORY:
            self._described.add(path)
        first = path
        if entry.kind is Kind.FILE and status.st_nlink > 1:
            first = self._firsts.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            yield writer.header(replace(entry, kind=Kind.HARD_LINK, link=first, size=0))
            return
        yield writer.header(entry)
        if entry.size:
            yield from self._nodes.content(path, entry.size)
            yield writer.padding(entry.size)

    def whiteout(self, path: bytes) -> Iterator[bytes]:
        """Yield the entry that hides `path`."""
        parent, _, base = path.rpartition(b"/")
        yield from self._mark(path, _join(parent, WHITEOUT + base))

    def opaque(self, path: bytes) -> Iterator[bytes]:
        """Yield the entry that hides what is below in the directory `path`."""
        yield from self._mark(_join(path, OPAQUE), _join(path, OPAQUE))

    def _mark(self, path: bytes, name: bytes) -> Iterator[bytes]:
        yield from self._parents(path)
        yield writer.header(Entry(name=name, kind=Kind.FILE, mode=0))

    def _parents(self, path: bytes) -> Iterator[bytes]:
        """Yield the directories that lead to `path` and are not described yet."""
        at = path.find(b"/")
        while at >= 0:
            directory = path[:at]
            if directory not in self._described:
                status = self._nodes.look(directory)
                if status is not None:
                    yield from self.add(directory, status)
            at = path.find(b"/", at + 1)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[Nodes]:
    fd = os.open(directory, beneath.DIRECTORY | os.O_CLOEXEC)
    try:
        yield Nodes(fd)
    finally:
        os.close(fd)


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _opaque(nodes: Nodes, path: bytes) -> bool:
    with beneath.opened(nodes.root, path, beneath.DIRECTORY) as fd:
        return is_opaque(fd)


def _require_whole(nodes: Nodes, path: bytes, status: os.stat_result) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return
    with beneath.opened(nodes.root, path, beneath.READ) as fd:
        found = _ELSEWHERE.intersection(os.listxattr(fd))
    if found:
        raise FailedPreconditionError(
            f"cannot make a layer: {shown(path)} has the attribute {min(found)}"
        )


def _same(
    old: Nodes, before: os.stat_result, new: Nodes, after: os.stat_result, path: bytes
) -> bool:
    """Whether `path` is the same in both trees, apart from what is in it if it is a directory."""
    if os.path.samestat(before, after):
        return True
    first, second = old.entry(path, before), new.entry(path, after)
    if first != second:
        return False
    return not (
        stat.S_ISREG(after.st_mode)
        and after.st_mtime_ns % _SECOND == 0
        and not _same_content(old, new, path, after.st_size)
    )


def _same_content(old: Nodes, new: Nodes, path: bytes, size: int) -> bool:
    pieces = zip(old.content(path, size), new.content(path, size), strict=True)
    return all(first == second for first, second in pieces)
