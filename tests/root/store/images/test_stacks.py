"""Layers that were unpacked apart and mounted on each other are what applying them in order gives.

The reference is written from the specification (layer.md, "Applying Changesets"): one directory,
one entry after the other.
"""

import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tars import archive, info
from tests.trees import Node, described
from tests.unpacking import Bench

pytestmark = pytest.mark.root

Member = tuple[tarfile.TarInfo, bytes]


class Reference:
    """A root file system that layers are applied to, one on another."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir()

    def apply(self, members: list[Member]) -> None:
        """Whiteouts concern the layers below, so they come first."""
        for member, _ in members:
            path = self._root / member.name
            if path.name == ".wh..wh..opq":
                for inner in path.parent.iterdir():
                    remove(inner)
            elif path.name.startswith(".wh."):
                remove(path.with_name(path.name.removeprefix(".wh.")))
        for member, data in members:
            if ".wh." not in member.name:
                self._make(self._root / member.name, member, data)
        for member, _ in members:
            path = self._root / member.name
            if member.isdir() and path.is_dir():
                path.chmod(member.mode)

    def _make(self, path: Path, member: tarfile.TarInfo, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if os.path.lexists(path) and not (path.is_dir() and member.isdir()):
            remove(path)
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            os.link(self._root / member.linkname, path)
        else:
            path.write_bytes(data)
            path.chmod(member.mode)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


class Author:
    """Writes layers that make sense, at random, from few names so that they collide.

    `a`, `b` and `c` are directories, the others are anything but parents. Whiteouts are of what is
    there; a hard link's target is below, and its layer leaves it alone.
    """

    def __init__(self, seed: int, reference: Path) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - layers, not secrets
        self._reference = reference
        self._count = 0

    def layer(self) -> list[Member]:
        """Write a layer, its members in any order."""
        there = described(self._reference)
        whiteouts = self._whiteouts([os.fsdecode(name) for name, node in there.items() if name])
        files = [os.fsdecode(name) for name, node in there.items() if node.kind == "-"]
        targets = [name for name in files if not hidden(name, whiteouts)]
        members = [self._member(targets) for _ in range(self._chance.randint(1, 10))]
        linked = {member.linkname for member, _ in members if member.islnk()}
        members = [found for found in members if found[0].name not in linked]
        members += [(info(name), b"") for name in whiteouts]
        self._chance.shuffle(members)
        return members

    def _whiteouts(self, there: list[str]) -> list[str]:
        found: list[str] = []
        for path in self._chance.sample(there, min(len(there), self._chance.randint(0, 3))):
            parent, _, name = path.rpartition("/")
            opaque = name in "abc" and self._chance.random() < 0.4
            whiteout = f"{path}/.wh..wh..opq" if opaque else f"{parent}/.wh.{name}".lstrip("/")
            clash = any(hidden(other, [whiteout]) for other in found)
            if not (hidden(path, found) or clash):
                found.append(whiteout)
        return found

    def _member(self, targets: list[str]) -> Member:
        self._count += 1
        parent = "/".join(self._chance.choices("abc", k=self._chance.randint(0, 3)))
        leaf = f"{parent}/{self._chance.choice('xyz')}".lstrip("/")
        # No setgid bit: what is made in such a directory would inherit it in the reference.
        mode = self._chance.choice([0o600, 0o1755, 0o4755])
        data = b""
        match self._chance.randint(0, 6):
            case 0 | 1 if parent:
                member = info(parent, tarfile.DIRTYPE, mode=mode)
            case 2:
                member = info(leaf, tarfile.SYMTYPE, linkname=f"to-{self._count}")
            case 3 | 4 if targets:
                member = info(leaf, tarfile.LNKTYPE, linkname=self._chance.choice(targets))
            case 5:
                member = info(leaf, tarfile.DIRTYPE, mode=mode)
            case _:
                member, data = info(leaf, mode=mode), str(self._count).encode()
        return member, data


def hidden(path: str, whiteouts: list[str]) -> bool:
    """Whether a whiteout takes `path` away."""
    for whiteout in whiteouts:
        parent, _, name = whiteout.rpartition("/")
        if name == ".wh..wh..opq":
            if path.startswith(parent + "/"):
                return True
        elif (path + "/").startswith(f"{parent}/{name.removeprefix('.wh.')}/".lstrip("/")):
            return True
    return False


def comparable(root: Path) -> dict[bytes, Node]:
    """Which inode a name has and when a directory changed is not the same on an overlay."""
    return {
        name: node._replace(first=b"", mtime=0, device=0, attributes={})
        for name, node in described(root, attributes=False).items()
        if name
    }


@contextmanager
def mounted(layers: list[Path], at: Path) -> Iterator[Path]:
    """Mount layers, topmost first, on each other."""
    at.mkdir()
    empty = at.with_name("empty")
    empty.mkdir()
    lower = ":".join(str(layer) for layer in [*layers, empty])
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}", at], check=True
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize("seed", range(25))
async def test_stacks(bench: Bench, tmp_path: Path, seed: int) -> None:
    root = tmp_path / "reference"
    reference = Reference(root)
    author = Author(seed, root)
    layers: list[Path] = []
    for _ in range(4):
        members = author.layer()
        layers.insert(0, await bench.layer(archive(members), *layers))
        reference.apply(members)
    with mounted(layers, tmp_path / "mounted") as found:
        assert comparable(found) == comparable(root)
        assert not [node for node in described(found).values() if stat.S_ISCHR(node.mode)]
