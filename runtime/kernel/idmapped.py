"""Mounts that show the ids of a user namespace.

An overlay cannot be given other ids, but its layers can: the directory that holds them all is
cloned with the ids of the user namespace, lent the target as its place, and the overlay is mounted
from there by a thread whose files are the user namespace's root's. Then the overlay alone is put
on the target. So on the disk every layer looks as if there were no user namespace, the one that
the container writes, too: what is checkpointed or compared later needs no translation. A crash
anywhere leaves mounts on the target at most, where everybody looks for them.

https://docs.kernel.org/filesystems/idmappings.html; overlays take such layers since Linux 5.19.
"""

import errno
import os
import platform
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from runtime.kernel import Users, attach, options, syscalls
from runtime.kernel.options import Options
from runtime.kernel.syscalls import MountAttributes
from runtime.kernel.threads import as_root_of
from store.snapshots import Mount

_OVERLAYS_SINCE: Final = (5, 19)
_LAYERS: Final = ("lowerdir", "upperdir", "workdir")


def mount_for(users: Users, mount: Mount, asked: Options, target: Path) -> None:
    """Mount on `target` with the ids of `users`.

    Raises:
        OSError: EINVAL if the file system, or what is to be mounted, has no such mounts.
    """
    namespace = os.open(users.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with attach.opened(target) as place:
            if asked.bind:
                attach.bind(mount.source, asked, place, namespace)
            elif mount.type == "overlay":
                _overlay(users, mount, asked, _Place(target, place, namespace))
            else:
                what = f"mount {mount.type}: only overlays and binds can have a pod's ids"
                raise OSError(errno.EINVAL, what, str(target))
    finally:
        os.close(namespace)


def supported(source: Path, namespace: Path, *, recursive: bool = False) -> bool:
    """Tell whether the file system of `source` can show the ids of a pinned user namespace.

    `recursive` asks for every one that is mounted below `source` as well.

    Raises:
        OSError: `source` cannot be looked at.
    """
    users = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        below = syscalls.AT_RECURSIVE if recursive else 0
        flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | below
        tree = syscalls.open_tree(syscalls.AT_FDCWD, source, flags)
        try:
            change = MountAttributes(set=syscalls.MOUNT_ATTR_IDMAP, users=users)
            syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | below, change)
        finally:
            os.close(tree)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    finally:
        os.close(users)
    return True


def overlays(release: str = "") -> bool:
    """Tell whether the kernel makes overlays of idmapped layers; `release` is of this one."""
    match = re.match(r"(\d+)\.(\d+)", release or platform.release())
    return match is not None and (int(match[1]), int(match[2])) >= _OVERLAYS_SINCE


class _Place:
    """A target, a descriptor of it, and one of the user namespace."""

    def __init__(self, target: Path, descriptor: int, namespace: int) -> None:
        self.target = target
        self.descriptor = descriptor
        self.namespace = namespace


def _overlay(users: Users, mount: Mount, asked: Options, place: _Place) -> None:
    top = os.path.commonpath([path for option in asked.data for path in _directories(option)])
    # Apart, or for a moment the overlay would hide the layers from everybody.
    attach.bind(top, options.parse(()), place.descriptor, place.namespace, apart=True)
    try:
        data = tuple(_moved(option, top, place.target) for option in asked.data)
        moved = replace(asked, data=data)
        as_root_of(users, partial(attach.filesystem, mount, moved, place.descriptor))
        clone = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
        overlay = syscalls.open_tree(syscalls.AT_FDCWD, place.target, clone)
    finally:
        attach.detach(place.target)
    try:
        syscalls.move_mount(overlay, place.descriptor)
    finally:
        os.close(overlay)


def _directories(option: str) -> list[str]:
    """Return the directories that an option of overlayfs names."""
    key, _, value = option.partition("=")
    return value.split(":") if key in _LAYERS else []


def _moved(option: str, top: str, target: Path) -> str:
    """Return the option with the directories below `top` where they appear below `target`."""
    found = [str(target / Path(path).relative_to(top)) for path in _directories(option)]
    return f"{option.partition('=')[0]}={':'.join(found)}" if found else option
