"""How a mount gets to its place: cloned or mounted, and attached to a descriptor of the target."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from runtime.kernel import options, syscalls
from runtime.kernel.options import Options
from store.snapshots import Mount

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_NOT_MOUNTED: Final = frozenset({errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@contextlib.contextmanager
def opened(target: Path) -> Iterator[int]:
    """Hold a descriptor that names `target` itself; errors inside tell the target, too."""
    descriptor = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _refuse_symlink(descriptor, target)
        yield descriptor
    except OSError as error:
        error.filename2 = str(target)
        raise
    finally:
        os.close(descriptor)


def _refuse_symlink(descriptor: int, target: Path) -> None:
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        raise OSError(errno.ELOOP, "mount: the target is a symbolic link", str(target))


def bind(
    source: str, asked: Options, place: int, users: int | None = None, *, apart: bool = False
) -> None:
    """Make `source` appear at `place`, with the ids of the user namespace `users` if given.

    A clone is a peer of its source where that is shared: what is mounted on the one appears on the
    other. With `apart` it is none.
    """
    recursive = syscalls.AT_RECURSIVE if asked.flags & options.MS_REC else 0
    clone = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | recursive
    tree = syscalls.open_tree(syscalls.AT_FDCWD, source, clone)
    try:
        attributes = asked.attributes()
        if users is not None:
            flags = attributes.set | syscalls.MOUNT_ATTR_IDMAP
            attributes = replace(attributes, set=flags, users=users)
        if apart:
            attributes = replace(attributes, propagation=options.MS_PRIVATE)
        if attributes.set or attributes.clear or attributes.propagation:
            syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attributes)
        syscalls.move_mount(tree, place)
    finally:
        os.close(tree)


def filesystem(mount: Mount, asked: Options, place: int) -> None:
    """Mount a file system at `place`."""
    with contextlib.ExitStack() as stack:
        data = ",".join(asked.data)
        if mount.type == "overlay" and len(os.fsencode(data)) >= _PAGE:
            data = ",".join(_shortened(option, stack) for option in asked.data)
        target = f"/proc/thread-self/fd/{place}"
        syscalls.mount(mount.source, target, mount.type, asked.flags, data)


def detach(target: Path, *, lazy: bool = True) -> bool:
    """Unmount every mount stacked on `target`; False if there was none."""
    flags = syscalls.UMOUNT_NOFOLLOW | (syscalls.MNT_DETACH if lazy else 0)
    found = False
    while True:
        try:
            syscalls.umount2(target, flags)
        except OSError as error:
            if error.errno in _NOT_MOUNTED:
                return found
            raise
        found = True


def _shortened(option: str, stack: contextlib.ExitStack) -> str:
    """Name the lower directories of an overlay by descriptors, open until `stack` ends.

    The option string must fit into a page; so shortened, 200 layers do. fsconfig(2) would take
    them one by one (`lowerdir+`), but only from Linux 6.8 on.
    """
    key, _, value = option.partition("=")
    if key != "lowerdir":
        return option
    lowers = []
    for lower in value.split(":"):
        descriptor = os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        lowers.append(f"/proc/self/fd/{descriptor}")
    return f"lowerdir={':'.join(lowers)}"
