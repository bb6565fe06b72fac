"""Mount options as mount(8) writes them, turned into what the kernel takes. Pure functions."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runtime.kernel import syscalls

MS_RDONLY: Final = 1 << 0
MS_NOSUID: Final = 1 << 1
MS_NODEV: Final = 1 << 2
MS_NOEXEC: Final = 1 << 3
MS_SYNCHRONOUS: Final = 1 << 4
MS_REMOUNT: Final = 1 << 5
MS_DIRSYNC: Final = 1 << 7
MS_NOSYMFOLLOW: Final = 1 << 8
MS_NOATIME: Final = 1 << 10
MS_NODIRATIME: Final = 1 << 11
MS_BIND: Final = 1 << 12
MS_REC: Final = 1 << 14
MS_SILENT: Final = 1 << 15
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25

_ATIMES: Final = MS_NOATIME | MS_RELATIME | MS_STRICTATIME

# Option: flags it sets, flags it clears.
_FLAGS: Final[dict[str, tuple[int, int]]] = {
    "defaults": (0, 0),
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0),
    "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0),
    "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0),
    "exec": (0, MS_NOEXEC),
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "remount": (MS_REMOUNT, 0),
    "noatime": (MS_NOATIME, _ATIMES),
    "atime": (0, MS_NOATIME),
    "relatime": (MS_RELATIME, _ATIMES),
    "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, _ATIMES),
    "nostrictatime": (0, MS_STRICTATIME),
    "nodiratime": (MS_NODIRATIME, 0),
    "diratime": (0, MS_NODIRATIME),
    "lazytime": (MS_LAZYTIME, 0),
    "nolazytime": (0, MS_LAZYTIME),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "silent": (MS_SILENT, 0),
    "loud": (0, MS_SILENT),
    "bind": (MS_BIND, 0),
    "rbind": (MS_BIND | MS_REC, 0),
}
_PROPAGATION: Final[dict[str, int]] = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
# MS_* flag: MOUNT_ATTR_* flag. Access times are three values of one field, _ATTR_ATIME.
_ATTRIBUTES: Final[dict[int, int]] = {
    MS_RDONLY: 0x1,
    MS_NOSUID: 0x2,
    MS_NODEV: 0x4,
    MS_NOEXEC: 0x8,
    MS_NOATIME: 0x10,
    MS_STRICTATIME: 0x20,
    MS_NODIRATIME: 0x80,
    MS_NOSYMFOLLOW: 0x200000,
}
_ATTR_ATIME: Final = 0x70


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a list of options asks for: MS_* flags, MS_* propagation changes, filesystem data.

    `cleared` are the flags an option such as `rw` takes away: a bind mount starts with those of
    its source.
    """

    flags: int = 0
    cleared: int = 0
    propagation: tuple[int, ...] = ()
    data: tuple[str, ...] = ()

    @property
    def bind(self) -> bool:
        """Whether this makes a directory appear somewhere else, rather than mount a filesystem."""
        return bool(self.flags & MS_BIND) and not self.flags & MS_REMOUNT

    def attributes(self) -> syscalls.MountAttributes:
        """Return the flags as mount_setattr(2) takes them."""
        set_ = sum(attr for flag, attr in _ATTRIBUTES.items() if self.flags & flag)
        clear = sum(attr for flag, attr in _ATTRIBUTES.items() if self.cleared & flag)
        if (self.flags | self.cleared) & _ATIMES:
            clear |= _ATTR_ATIME
        return syscalls.MountAttributes(set=set_, clear=clear)


def parse(options: Iterable[str]) -> Options:
    """Sort `options` into flags, propagation and data; the later of two opposites wins."""
    flags = cleared = 0
    propagation: list[int] = []
    data: list[str] = []
    for option in options:
        if option in _FLAGS:
            add, remove = _FLAGS[option]
            flags, cleared = flags & ~remove | add, (cleared | remove) & ~add
        elif option in _PROPAGATION:
            propagation.append(_PROPAGATION[option])
        elif option:
            data.append(option)
    return Options(flags=flags, cleared=cleared, propagation=tuple(propagation), data=tuple(data))


def unescape(field: str) -> str:
    r"""Undo the octal escapes (`\040`) of a path in /proc/self/mountinfo."""
    head, *rest = field.split("\\")
    decoded = b"".join(bytes((int(part[:3], 8),)) + os.fsencode(part[3:]) for part in rest)
    return os.fsdecode(os.fsencode(head) + decoded)
