"""Where cgroups go, for each driver.

The kubelet always names a pod's parent as an absolute path. The cgroupfs driver uses that path;
systemd knows slices only by their last name, from which the whole path follows: `a-b.slice` lies
in `a.slice` (systemd.slice(5)). An OCI runtime under systemd gets `slice:prefix:id` and starts
the scope `prefix-id.scope` in it.
"""

import posixpath
import re
from typing import Final

from runtime.cgroups import Driver
from store.errors import InvalidArgumentError

_PREFIX: Final = "ferry"
_SLICE: Final = re.compile(r"[A-Za-z0-9:_.\\@]+(-[A-Za-z0-9:_.\\@]+)*\.slice")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


def _check_absolute(parent: str) -> None:
    if not parent.startswith("/") or posixpath.normpath(parent) != parent or parent == "/":
        raise InvalidArgumentError(
            f"cannot use cgroup_parent {parent!r}: must be an absolute path without '.', '..', "
            "doubled or trailing slashes"
        )
    if parent.startswith("//") or _UNPRINTABLE.search(parent):
        raise InvalidArgumentError(f"cannot use cgroup_parent {parent!r}: not a clean path")


def expand_slice(name: str) -> str:
    """Return the path of a slice: `a-b.slice` is `/a.slice/a-b.slice`, `-.slice` is the root.

    Raises:
        InvalidArgumentError: systemd would not take the name.
    """
    if name == "-.slice":
        return ""
    if not _SLICE.fullmatch(name):
        raise InvalidArgumentError(f"cannot use slice {name!r}: systemd does not take the name")
    words = name.removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(words[:count])}.slice" for count in range(1, len(words) + 1))


class CgroupfsPaths:
    """Plain directories: a pod without a parent gets `/ferry-<sandbox id>`."""

    @property
    def driver(self) -> Driver:
        """`Driver.CGROUPFS`."""
        return Driver.CGROUPFS

    def check_parent(self, parent: str) -> None:
        """Take empty and clean absolute paths; a `.slice` belongs to the other driver."""
        if not parent:
            return
        _check_absolute(parent)
        if parent.endswith(".slice"):
            raise InvalidArgumentError(
                f"cannot use cgroup_parent {parent!r}: a systemd slice, but this node's "
                "cgroup driver is cgroupfs"
            )

    def sandbox(self, parent: str, sandbox_id: str) -> str:
        """Return `parent` itself, or `/ferry-<sandbox_id>`: no directory of ours stays empty."""
        return parent or f"/{_PREFIX}-{sandbox_id}"

    def container(self, pod: str, container_id: str) -> str:
        """Return `<pod>/<container_id>`."""
        return f"{pod}/{container_id}"

    def directory(self, cgroups_path: str) -> str:
        """Return the path unchanged: it is already one below the hierarchy's root."""
        return cgroups_path


class SystemdPaths:
    """Slices and scopes: a pod without a parent gets `ferry-<sandbox id>.slice`."""

    @property
    def driver(self) -> Driver:
        """`Driver.SYSTEMD`."""
        return Driver.SYSTEMD

    def check_parent(self, parent: str) -> None:
        """Take empty and absolute paths whose last name is a slice."""
        if not parent:
            return
        _check_absolute(parent)
        name = posixpath.basename(parent)
        if not name.endswith(".slice"):
            raise InvalidArgumentError(
                f"cannot use cgroup_parent {parent!r}: must end in .slice, because this node's "
                "cgroup driver is systemd"
            )
        expand_slice(name)

    def sandbox(self, parent: str, sandbox_id: str) -> str:
        """Return where systemd puts the parent's slice, or ferry's own slice for the pod."""
        return expand_slice(posixpath.basename(parent) or f"{_PREFIX}-{sandbox_id}.slice")

    def container(self, pod: str, container_id: str) -> str:
        """Return `<slice>:ferry:<container_id>`."""
        return f"{posixpath.basename(pod) or '-.slice'}:{_PREFIX}:{container_id}"

    def directory(self, cgroups_path: str) -> str:
        """Return the scope's path for `slice:prefix:id`, the slice's for a path of `sandbox`."""
        name, separator, scope = cgroups_path.partition(":")
        if not separator:
            return cgroups_path
        prefix, _, container_id = scope.partition(":")
        return f"{expand_slice(name)}/{prefix}-{container_id}.scope"
