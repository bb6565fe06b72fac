"""Devices of the host: finding them, and giving them to containers.

A device that is given needs two things: a node in the container's /dev and a rule in its devices
cgroup. The usual few (null, zero, full, random, urandom, tty, ptmx) are every OCI runtime's own
work.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtime.spec import DeviceNode, DeviceRequest, Json, SpecRequest
from runtime.spec.text import absolute
from store.errors import InvalidArgumentError, NotFoundError

_SKIPPED: Final = frozenset({"ptmx", "pts", "shm", "mqueue", "console", "fd"})
_KINDS: Final = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
_RULED: Final = frozenset({"c", "b"})
_MAJORS: Final = 1 << 12
_MINORS: Final = 1 << 20


def _node(path: str, status: os.stat_result) -> DeviceNode | None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    return DeviceNode(
        path=path,
        kind=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _walk(directory: str, skipped: frozenset[str]) -> Iterator[DeviceNode]:
    """Yield character and block devices below, by name; links and what vanishes are passed by."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name in skipped:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, frozenset())
            continue
        try:
            node = _node(entry.path, entry.stat(follow_symlinks=False))
        except OSError:
            continue
        if node is not None and node.kind != "p":
            yield node


def host_devices(root: Path = Path("/dev")) -> tuple[DeviceNode, ...]:
    """Return all devices of the node, for privileged containers.

    Left out are those that each container has of its own (terminals, shared memory, queues).
    """
    return tuple(_walk(str(root), _SKIPPED))


def scan(host_path: str) -> tuple[DeviceNode, ...]:
    """Return what a requested host path stands for: a device, or all below a directory.

    A symbolic link is followed; the nodes keep names below `host_path`.

    Raises:
        InvalidArgumentError: the path is not absolute or is no device.
        NotFoundError: there is nothing.
    """
    path = absolute("devices.host_path", host_path)
    try:
        status = Path(path).stat()
    except OSError as error:
        raise NotFoundError(f"cannot use device {path}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        return tuple(_walk(path, frozenset()))
    node = _node(path, status)
    if node is None:
        raise InvalidArgumentError(f"cannot use device {path}: it is not a device")
    return (node,)


def _entry(path: str, node: DeviceNode) -> dict[str, Json]:
    if not (0 <= node.major < _MAJORS and 0 <= node.minor < _MINORS):
        raise InvalidArgumentError(
            f"cannot use device {path}: number {node.major}:{node.minor} is out of range"
        )
    return {
        "path": path,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode & 0o777,
        "uid": node.uid,
        "gid": node.gid,
    }


def _rule(node: DeviceNode, access: str) -> dict[str, Json]:
    return {
        "allow": True,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "access": access,
    }


def _access(number: int, wanted: DeviceRequest) -> str:
    given = wanted.permissions or "rwm"
    if not set(given) <= set("rwm") or len(set(given)) != len(given):
        raise InvalidArgumentError(
            f"cannot use devices[{number}].permissions {given!r}: must be of r, w and m"
        )
    return given


def _requested(request: SpecRequest) -> Iterator[tuple[str, DeviceNode, str]]:
    """Yield path in the container, node and access for every device that is asked for."""
    for number, wanted in enumerate(request.device_requests):
        access = _access(number, wanted)
        host = absolute(f"devices[{number}].host_path", wanted.host_path)
        target = absolute(
            f"devices[{number}].container_path", wanted.container_path or wanted.host_path
        )
        nodes = request.devices.get(wanted.host_path, ())
        if not nodes:
            raise InvalidArgumentError(f"cannot use devices[{number}] {host}: no device is there")
        for node in nodes:
            yield target + node.path.removeprefix(host), node, access


def _edited(request: SpecRequest) -> Iterator[tuple[str, DeviceNode, str]]:
    """Yield path, node and access for every device that named devices bring."""
    for device in request.edits.devices:
        node = DeviceNode(
            path=device.host_path,
            kind=device.kind,
            major=device.major,
            minor=device.minor,
            mode=device.mode,
            uid=request.user.uid if device.uid is None else device.uid,
            gid=request.user.gid if device.gid is None else device.gid,
        )
        yield absolute("CDI device", device.path), node, device.access


def _is_bound(request: SpecRequest, path: str, node: DeviceNode) -> bool:
    """Tell whether a device can only be given by a mount.

    Nobody makes device nodes in a user namespace: OCI runtimes then bind the node's own, which they
    look for at the path that the container is to have.
    """
    return request.sandbox_modes.mapped is not None and path != node.path


def bound(request: SpecRequest) -> dict[str, str]:
    """Return the devices that are given by bind mounts: source by target."""
    return {
        path: node.path
        for path, node, _ in (*_requested(request), *_edited(request))
        if _is_bound(request, path, node)
    }


def documents(request: SpecRequest) -> tuple[list[Json], list[Json]]:
    """Return `linux.devices` and `linux.resources.devices`.

    Raises:
        InvalidArgumentError: permissions, paths or numbers that cannot be.
    """
    privileged = request.security.privileged
    entries: dict[str, Json] = {}
    if privileged:
        entries.update({node.path: _entry(node.path, node) for node in request.host_devices})
    rules: list[Json] = [{"allow": privileged, "access": "rwm"}]
    for path, node, access in (*_requested(request), *_edited(request)):
        entry = _entry(path, node)
        if not _is_bound(request, path, node):
            entries[path] = entry
        if access and node.kind in _RULED and not privileged:
            rules.append(_rule(node, access))
    return list(entries.values()), rules
