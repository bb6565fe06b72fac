"""Directory trees as values, for comparing what two programs made of the same archive."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Node(NamedTuple):
    """All that is told of an inode; `first` is the first path of the same inode."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    content: str
    device: int
    attributes: dict[str, bytes]
    first: bytes


def described(root: Path, *, attributes: bool = True) -> dict[bytes, Node]:
    """Return every path below `root` (empty for itself) with what is there."""
    firsts: dict[int, bytes] = {}
    return {
        name: _node(path, name, firsts, attributes=attributes)
        for name, path in sorted(_paths(os.fsencode(root), b""))
    }


def _paths(root: bytes, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    path = root + b"/" + name if name else root
    yield name, path
    if stat.S_ISDIR(os.lstat(path).st_mode):
        with os.scandir(path) as inner:
            names = [entry.name for entry in inner]
        for base in names:
            yield from _paths(root, name + b"/" + base if name else base)


def _node(path: bytes, name: bytes, firsts: dict[int, bytes], *, attributes: bool) -> Node:
    found = os.lstat(path)
    kind = stat.filemode(found.st_mode)[0]
    return Node(
        kind=kind,
        mode=stat.S_IMODE(found.st_mode) if kind != "l" else 0,
        uid=found.st_uid,
        gid=found.st_gid,
        mtime=found.st_mtime_ns,
        size=found.st_size if kind == "-" else 0,
        content=_content(Path(os.fsdecode(path)), kind),
        device=found.st_rdev,
        attributes=_attributes(path) if attributes else {},
        first=firsts.setdefault(found.st_ino, name),
    )


def _content(path: Path, kind: str) -> str:
    if kind == "l":
        return str(path.readlink())
    if kind == "-":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _attributes(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
