"""Mounts on the running kernel.

A filesystem is mounted with mount(2): 0.29 ms against 0.33 for fsopen and its kin. A bind mount is
cloned detached, given its flags, and only then moved into place, so that a read-only one is never
writable for a moment. A target is opened without following a symlink in its last component, and
used through that descriptor.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtime.kernel import options, syscalls
from runtime.kernel.options import Options
from runtime.kernel.syscalls import MountAttributes
from store.snapshots import Mount

_MOUNTINFO: Final = Path("/proc/thread-self/mountinfo")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_NOT_MOUNTED: Final = frozenset({errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class LinuxMounts:
    """`Mounts` in the mount namespace of the calling thread; the path is in every `OSError`."""

    def mount(self, mount: Mount, target: Path) -> None:
        """Mount on an existing target, which must not be a symlink.

        A mount without a type whose options are propagation types alone changes what is there.
        """
        asked = options.parse(mount.options)
        with _opened(target) as place:
            if asked.bind:
                _bind(mount.source, asked, place)
            elif mount.type or asked.flags & options.MS_REMOUNT:
                _filesystem(mount, asked, place)
        # The descriptor is of what is now beneath; the mount itself is found by its path again.
        for change in asked.propagation:
            recursive = syscalls.AT_RECURSIVE if change & options.MS_REC else 0
            flags = syscalls.AT_SYMLINK_NOFOLLOW | recursive
            attributes = MountAttributes(propagation=change & ~options.MS_REC)
            syscalls.mount_setattr(syscalls.AT_FDCWD, target, flags, attributes)

    def unmount(self, target: Path, *, lazy: bool = True) -> bool:
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

    def mounted(self, below: Path) -> list[Path]:
        """Return every mount point at or below a path, deepest first, each once."""
        prefix = f"{str(below).rstrip('/')}/"
        with _MOUNTINFO.open(encoding="utf-8", errors="surrogateescape") as lines:
            points = {options.unescape(line.split(" ", 5)[4]) for line in lines}
        found = [point for point in points if f"{point.rstrip('/')}/".startswith(prefix)]
        return [Path(point) for point in sorted(found, key=lambda p: (-p.count("/"), p))]


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[int]:
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


def _bind(source: str, asked: Options, place: int) -> None:
    recursive = syscalls.AT_RECURSIVE if asked.flags & options.MS_REC else 0
    clone = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | recursive
    tree = syscalls.open_tree(syscalls.AT_FDCWD, source, clone)
    try:
        attributes = asked.attributes()
        if attributes.set or attributes.clear:
            syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attributes)
        syscalls.move_mount(tree, place)
    finally:
        os.close(tree)


def _filesystem(mount: Mount, asked: Options, place: int) -> None:
    with contextlib.ExitStack() as stack:
        data = ",".join(asked.data)
        if mount.type == "overlay" and len(os.fsencode(data)) >= _PAGE:
            data = ",".join(_shortened(option, stack) for option in asked.data)
        target = f"/proc/thread-self/fd/{place}"
        syscalls.mount(mount.source, target, mount.type, asked.flags, data)


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
