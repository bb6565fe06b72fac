"""Which layout of control groups this node has, from its mount table.

crun refuses a hybrid layout whose unified part has a controller of its own ("cgroups in hybrid
mode not supported"); runc works on all three.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.cgroups.files import read_text
from store.errors import Error, UnimplementedError

ROOT: Final = Path("/sys/fs/cgroup")


class Layout(enum.StrEnum):
    """How control groups are mounted."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLayout:
    """What is mounted below `root`. `unified` are the v2 tree's controllers, v1 those of v1."""

    layout: Layout
    root: Path = ROOT
    v1: frozenset[str] = frozenset()
    unified: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """2 only if there is nothing else: a hybrid layout counts as v1, as for the kubelet."""
        return 2 if self.layout is Layout.V2 else 1

    @property
    def controllers(self) -> frozenset[str]:
        """The controllers a container can be limited by."""
        return frozenset(self.unified) if self.layout is Layout.V2 else self.v1

    @property
    def crun_obstacle(self) -> str:
        """Why crun cannot run here, with both cures; empty if it can."""
        if self.layout is not Layout.HYBRID or not self.unified:
            return ""
        unified, names = self.root / "unified", ",".join(self.unified)
        return (
            f"crun refuses this hybrid cgroup layout: {unified} has the controllers {names}. "
            f"Either `umount {unified}` in the mount namespace of ferryd, or mount them as v1: "
            f"`mkdir {self.root / names} && mount -t cgroup -o {names} {names} "
            f"{self.root / names}`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mount:
    point: str
    kind: str
    super_options: str


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    """Yield the lines of a proc_pid_mountinfo(5) text; later mounts cover earlier ones."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if separator and len(fields) >= 5 and rest:
            yield _Mount(point=fields[4], kind=rest[0], super_options=rest[-1])


def parse(mountinfo: str, unified: tuple[str, ...], root: Path = ROOT) -> CgroupLayout:
    """Return the layout that a mount table shows; pure.

    Args:
        mountinfo: the text of /proc/self/mountinfo.
        unified: the controllers in the `cgroup.controllers` of the v2 tree, if there is one.
        root: where control groups are expected.

    Raises:
        UnimplementedError: nothing is mounted there.
    """
    kinds = {mount.point: mount for mount in _mounts(mountinfo)}
    top = kinds.get(str(root))
    if top is not None and top.kind == "cgroup2":
        return CgroupLayout(layout=Layout.V2, root=root, unified=unified)
    legacy = frozenset(
        name
        for mount in kinds.values()
        if mount.kind == "cgroup" and Path(mount.point).parent == root
        for name in mount.super_options.split(",")
        if name not in {"rw", "ro", "xattr", "none"} and "=" not in name
    )
    beside = kinds.get(str(root / "unified"))
    if not legacy:
        raise UnimplementedError(f"cannot run containers: no cgroup is mounted at {root}")
    if beside is not None and beside.kind == "cgroup2":
        return CgroupLayout(layout=Layout.HYBRID, root=root, v1=legacy, unified=unified)
    return CgroupLayout(layout=Layout.V1, root=root, v1=legacy)


def detect(root: Path = ROOT, mountinfo: Path = Path("/proc/self/mountinfo")) -> CgroupLayout:
    """Return this process's layout. Blocking, quick.

    Raises:
        UnimplementedError: no control groups are mounted.
    """
    try:
        text = mountinfo.read_text(errors="surrogateescape")
    except OSError as error:
        raise Error(f"cannot read {mountinfo}: {error.strerror}") from error
    listed = read_text(f"{root}/cgroup.controllers") or read_text(
        f"{root}/unified/cgroup.controllers"
    )
    return parse(text, tuple((listed or "").split()), root)
