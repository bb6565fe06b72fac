"""Which namespaces a container joins, makes or goes without, and which sysctls those allow.

Network, IPC, UTS and users belong to the pod: a container has what its sandbox has, whatever its
own request says. Only the PID namespace is a choice of each container.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from runtime.kernel import sysctls as sysctl_rules
from runtime.spec import IdMapping, Json, NamespaceMode, NamespaceModes, SpecRequest
from runtime.spec.mounts import id_mappings as mapping_documents
from store.errors import Error, InvalidArgumentError

_LARGEST_ID: Final = 2**32 - 2
_SYSCTL_VALUE: Final = re.compile(r"[A-Za-z0-9_.,:/ -]+")


def check_modes(modes: NamespaceModes) -> None:
    """Refuse what CRI's modes do not mean for a pod.

    Raises:
        InvalidArgumentError: a mode or an id mapping that the field does not take.
    """
    shared = (NamespaceMode.POD, NamespaceMode.NODE)
    for field, mode in (("network", modes.network), ("ipc", modes.ipc)):
        if mode not in shared:
            raise InvalidArgumentError(
                f"cannot use namespace_options.{field} {mode.value}: must be pod or node"
            )
    if modes.pid is NamespaceMode.TARGET and not modes.target_id:
        raise InvalidArgumentError(
            "cannot use namespace_options.pid target: namespace_options.target_id is empty"
        )
    check_user_namespace(modes)


def check_user_namespace(modes: NamespaceModes) -> None:
    """Refuse what cannot be a pod's user namespace.

    Raises:
        InvalidArgumentError: modes other than pod and node, mappings that are not exactly one for
            uids and one for gids from container id 0, or the node's PIDs or IPC beside them: the
            kernel lets nobody mount /proc or /dev/mqueue of a namespace that is not his.
    """
    wanted = modes.user
    if wanted is None or wanted.mode is NamespaceMode.NODE:
        return
    if wanted.mode is not NamespaceMode.POD:
        raise InvalidArgumentError(
            f"cannot use userns_options.mode {wanted.mode.value}: must be pod or node"
        )
    for field, mappings in (("uids", wanted.uids), ("gids", wanted.gids)):
        if len(mappings) != 1 or mappings[0].container_id != 0 or mappings[0].length < 1:
            raise InvalidArgumentError(
                f"cannot use userns_options.{field}: must be one mapping that starts at "
                "container id 0"
            )
        _check_range(f"userns_options.{field}", mappings[0])
    for field, mode in (("pid", modes.pid), ("ipc", modes.ipc)):
        if mode is NamespaceMode.NODE:
            raise InvalidArgumentError(
                f"cannot use namespace_options.{field} node: the pod has a user namespace"
            )


def _check_range(field: str, mapping: IdMapping) -> None:
    last = mapping.host_id + mapping.length - 1
    if mapping.host_id < 0 or last > _LARGEST_ID:
        raise InvalidArgumentError(
            f"cannot use {field}: host ids {mapping.host_id} to {last} are out of range"
        )


def check_member(container: NamespaceModes, sandbox: NamespaceModes) -> None:
    """Refuse modes that a container of a given pod cannot have.

    Raises:
        InvalidArgumentError: as `check_modes`; or it asks for other ids than its pod has, while
            asking for none is no matter.
    """
    if container.user is not None and container.mapped != sandbox.mapped:
        raise InvalidArgumentError(
            "cannot use namespace_options.userns_options: the pod's are different"
        )
    check_modes(replace(container, user=sandbox.user))


def id_mappings(modes: NamespaceModes) -> dict[str, Json]:
    """Return `linux.uidMappings` and `linux.gidMappings`, neither without a user namespace."""
    users = modes.mapped
    if users is None:
        return {}
    return {
        "uidMappings": mapping_documents(users.uids),
        "gidMappings": mapping_documents(users.gids),
    }


def _path(kind: str, path: Path | None) -> dict[str, Json]:
    if path is None:
        raise Error(f"cannot build spec: the {kind} namespace of the pod is not known")
    return {"type": kind, "path": str(path)}


def _pid(request: SpecRequest) -> dict[str, Json] | None:
    mode = request.security.namespaces.pid
    if mode is NamespaceMode.CONTAINER:
        return {"type": "pid"}
    of_the_node = request.sandbox_modes.pid is NamespaceMode.NODE
    if mode is NamespaceMode.NODE or (mode is NamespaceMode.POD and of_the_node):
        return None
    return _path("pid", request.sandbox.pid)


def _entries(request: SpecRequest) -> Iterator[dict[str, Json]]:
    yield {"type": "mount"}
    if request.sandbox_modes.mapped is not None:
        yield _path("user", request.sandbox.user)
    if request.sandbox_modes.network is not NamespaceMode.NODE:
        yield _path("network", request.sandbox.net)
        yield _path("uts", request.sandbox.uts)
    if request.sandbox_modes.ipc is not NamespaceMode.NODE:
        yield _path("ipc", request.sandbox.ipc)
    pid = _pid(request)
    if pid is not None:
        yield pid
    # On v1 a cgroup namespace would hide the container's own path from tools that look it up in
    # the node's tree; runtimes bind the container's part of the tree instead.
    if request.host.cgroup_version == 2 and not request.security.privileged:
        yield {"type": "cgroup"}


def document(request: SpecRequest) -> list[Json]:
    """Return `linux.namespaces`.

    Raises:
        Error: the pod shares a namespace whose path the request lacks.
        InvalidArgumentError: a mode that cannot be.
    """
    check_modes(request.sandbox_modes)
    check_member(request.security.namespaces, request.sandbox_modes)
    return list(_entries(request))


def check_sysctls(sysctls: Mapping[str, str], modes: NamespaceModes) -> None:
    """Refuse by name every sysctl that would not stay in the pod or is malformed.

    Values are plain words: other characters have smuggled further sysctls into pods through
    programs that set them (CVE-2022-0811).

    Raises:
        InvalidArgumentError: the first offender, with the reason.
    """
    sysctl_rules.check_sysctls(
        sysctls,
        network=modes.network is not NamespaceMode.NODE,
        ipc=modes.ipc is not NamespaceMode.NODE,
    )
    for name, value in sysctls.items():
        if not _SYSCTL_VALUE.fullmatch(value):
            raise InvalidArgumentError(
                f"cannot set sysctl {name!r} to {value[:80]!r}: the value is malformed"
            )
