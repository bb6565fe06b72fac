"""Looking at what the node has of what a container's request names.

Paths of the node may be on file systems that hang: all of this is for a thread that may be left
behind, and it changes nothing but for directories that are to be mounted and are missing.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runtime import apparmor
from runtime.kernel import Users
from runtime.pods.case import Case, OnNode
from runtime.pods.node import Node
from runtime.pods.sources import log_file, resolve
from runtime.spec import Edits, Json, MountRequest, Profile, ProfileKind
from runtime.spec.devices import host_devices, scan
from runtime.spec.seccomp import read_profile
from store.errors import FailedPreconditionError


def look(node: Node, case: Case) -> OnNode:
    """Return what is there.

    Raises:
        InvalidArgumentError, NotFoundError, FailedPreconditionError: the request cannot be met;
            names the path, device or profile.
    """
    config = case.config
    privileged = config.security.privileged
    if node.host.apparmor:
        apparmor.check_loaded(config.security.apparmor)
    mounts = [mount for mount in config.mounts if not mount.image]
    sources = resolve(mounts)
    edits = node.devices.resolve(config.cdi_devices)
    wanted = _mapped(mounts, sources, edits)
    return OnNode(
        sources=sources,
        deeply_mapped=_mappable(node, wanted, case.users) if case.users else frozenset(),
        devices={device.host_path: scan(device.host_path) for device in config.devices},
        host_devices=host_devices() if privileged else (),
        edits=edits,
        seccomp=_localhost(config.security.seccomp, privileged=privileged),
        relabelled=tuple(sources[m.container_path] for m in mounts if m.selinux_relabel),
        log_path=log_file(case.sandbox.config.log_directory, config.log_path),
    )


def _mapped(
    mounts: Iterable[MountRequest], sources: Mapping[str, Path], edits: Edits
) -> Iterator[tuple[Path, str]]:
    """Yield source and target of each mount that shows the ids of the pod's user namespace."""
    for mount in mounts:
        if mount.uid_mappings:
            yield sources[mount.container_path], mount.container_path
    for edited in edits.mounts:
        if edited.type == "bind":
            yield Path(edited.source), edited.target


def _mappable(node: Node, mounts: Iterable[tuple[Path, str]], users: Users) -> frozenset[str]:
    """Return the targets of mounts that can show the ids in all that is mounted below, too.

    Where something below cannot, it shows nobody's files, and that is no reason to refuse the rest:
    a directory of the node may hold anything.
    """
    deep = set()
    for source, target in mounts:
        if node.mounts.mappable(source, users, recursive=True):
            deep.add(target)
        elif not node.mounts.mappable(source, users):
            raise FailedPreconditionError(
                f"cannot mount {source} at {target} with the ids of the pod's user namespace: "
                "its file system has no idmapped mounts"
            )
    return frozenset(deep)


def _localhost(profile: Profile | None, *, privileged: bool) -> Mapping[str, Json] | None:
    if profile is None or profile.kind is not ProfileKind.LOCALHOST or privileged:
        return None
    return read_profile(profile.localhost)
