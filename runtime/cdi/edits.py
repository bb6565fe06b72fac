"""What CDI files say, with what the node has put in where they say nothing."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from runtime.cdi.document import ContainerEdits, DeviceNode, Hook, IntelRdt, Mount
from runtime.spec import EditedDevice, EditedMount, Edits, Json
from runtime.spec import Hook as OciHook
from store.errors import InvalidArgumentError, NotFoundError

_KINDS: Final = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
_USUAL_MODE: Final = 0o666
_IN_CONTAINER: Final = "startContainer"
_BINDS: Final = frozenset({"bind", "rbind"})


def gathered(parts: Iterable[ContainerEdits]) -> Edits:
    """Return the edits of several parts as one. Blocking: looks at the node.

    Raises:
        NotFoundError: a device, a mount's source or a hook's program is not there.
        InvalidArgumentError: what is said to be a device is none.
    """
    known = list(parts)
    hooks: dict[str, tuple[OciHook, ...]] = {}
    for hook in (hook for part in known for hook in part.hooks):
        hooks[hook.hook_name] = (*hooks.get(hook.hook_name, ()), _hook(hook))
    rdt = [part.intel_rdt for part in known if part.intel_rdt is not None]
    return Edits(
        env=tuple(entry for part in known for entry in part.env),
        devices=tuple(_device(node) for part in known for node in part.device_nodes),
        mounts=tuple(_mount(mount) for part in known for mount in part.mounts),
        hooks=hooks,
        gids=tuple(gid for part in known for gid in part.additional_gids if gid),
        rdt=_rdt(rdt[-1]) if rdt else {},
    )


def _device(node: DeviceNode) -> EditedDevice:
    path = node.host_path or node.path
    known = node.type and (node.major or node.type == "p")
    kind, number, mode = (node.type, (node.major, node.minor), _USUAL_MODE)
    if not known:
        kind, number, mode = _looked_up(path)
    return EditedDevice(
        path=node.path,
        host_path=path,
        kind="c" if kind == "u" else kind,
        major=number[0],
        minor=number[1],
        mode=mode if node.file_mode is None else node.file_mode,
        uid=node.uid,
        gid=node.gid,
        access={"": "rwm", "none": ""}.get(node.permissions, node.permissions),
    )


def _looked_up(path: str) -> tuple[str, tuple[int, int], int]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise NotFoundError(f"cannot use device {path}: {error.strerror}") from error
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise InvalidArgumentError(f"cannot use device {path}: it is not a device")
    number = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return kind, number, stat.S_IMODE(status.st_mode)


def _mount(mount: Mount) -> EditedMount:
    options = mount.options
    if not mount.type and not _BINDS & set(options):
        options = ("rbind", *options)
    bind = bool(_BINDS & set(options))
    if bind:
        _check_there("mount", mount.host_path)
    return EditedMount(
        source=mount.host_path,
        target=mount.container_path,
        type="bind" if bind else mount.type,
        options=options,
    )


def _hook(hook: Hook) -> OciHook:
    if hook.hook_name != _IN_CONTAINER:  # its path is the container's
        _check_there("run", hook.path)
    return OciHook(path=hook.path, args=hook.args, env=hook.env, timeout=hook.timeout)


def _check_there(what: str, path: str) -> None:
    try:
        Path(path).stat()
    except OSError as error:
        raise NotFoundError(f"cannot {what} {path}: {error.strerror}") from error


def _rdt(rdt: IntelRdt) -> dict[str, Json]:
    found: dict[str, Json] = {
        "closID": rdt.clos_id,
        "l3CacheSchema": rdt.l3_cache_schema,
        "memBwSchema": rdt.mem_bw_schema,
        "schemata": list(rdt.schemata),
        "enableMonitoring": rdt.enable_monitoring,
        "enableCMT": rdt.enable_cmt,
        "enableMBM": rdt.enable_mbm,
    }
    return {name: value for name, value in found.items() if value}
