"""System calls that Python has no function for.

One thin function for each call and one error path: an `OSError` whose text names the call and whose
`filename` is what it was about. Descriptors that come back are close-on-exec and belong to the
caller. ctypes releases the interpreter lock for the time of a call. The numbers of calls newer
than Linux 5.1 are the same on every architecture.
"""

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
AT_SYMLINK_NOFOLLOW: Final = 0x100

MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
MOUNT_ATTR_IDMAP: Final = 0x100000
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_CAPABILITY_VERSION: Final = 0x20080522
_SAME: Final = 0xFFFFFFFF
# These are older than the common numbering, which only newer architectures follow.
_SETRESUID, _SETRESGID = {"x86_64": (117, 119), "ppc64le": (164, 169), "s390x": (208, 210)}.get(
    platform.machine(), (147, 149)
)
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_libc.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    """`struct open_how` (openat2(2))."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _MountAttr(ctypes.Structure):
    """`struct mount_attr` (mount_setattr(2))."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _CapabilityHeader(ctypes.Structure):
    """`cap_user_header_t` (capset(2))."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    """`cap_user_data_t`: 32 capabilities of each set."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MountAttributes:
    """What mount_setattr(2) changes: MOUNT_ATTR_* to set and to clear, one MS_* propagation.

    `users` is a descriptor of the user namespace that MOUNT_ATTR_IDMAP is about.
    """

    set: int = 0
    clear: int = 0
    propagation: int = 0
    users: int = 0


def mount(source: str, target: str, type_: str, flags: int, data: str) -> None:
    """Mount. The kernel cuts `data` at a page without a word, so an oversized one is E2BIG."""
    encoded = os.fsencode(data)
    if len(encoded) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(7, f"mount: {len(encoded)} bytes of options do not fit into a page", target)
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(type_), flags, encoded
    )
    _check(result, f"mount {type_ or 'bind'} from {source}", target)


def umount2(target: str | Path, flags: int) -> None:
    """Unmount the topmost mount on `target`."""
    _check(_libc.umount2(os.fsencode(target), flags), "umount2", target)


def open_tree(directory: int, path: str | Path, flags: int) -> int:
    """Return a descriptor of a mount tree, or of a detached copy of it."""
    result = _libc.syscall(_OPEN_TREE, directory, os.fsencode(path), flags)
    return _check(result, "open_tree", path)


def move_mount(tree: int, target: int) -> None:
    """Attach the mount of one descriptor on that of another."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", target, b"", flags), "move_mount", f"fd {target}")


def mount_setattr(directory: int, path: str | Path, flags: int, change: MountAttributes) -> None:
    """Change the flags and propagation of a mount or a tree."""
    attr = _MountAttr(change.set, change.clear, change.propagation, change.users)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    pointer = ctypes.byref(attr)
    result = _libc.syscall(_MOUNT_SETATTR, directory, os.fsencode(path), flags, pointer, size)
    _check(result, "mount_setattr", path)


def openat2(directory: int, path: str | Path, flags: int, *, mode: int = 0, resolve: int) -> int:
    """Open `path` under the RESOLVE_* rules; the descriptor is close-on-exec."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    result = _libc.syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), size)
    return _check(result, "openat2", path)


def unshare(flags: int) -> None:
    """Give the calling thread, and it alone, namespaces of its own."""
    _check(_libc.unshare(flags), "unshare", f"flags {flags:#x}")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread, and it alone, into a namespace of a given kind."""
    _check(_libc.setns(descriptor, kind), "setns", f"fd {descriptor}")


def act_as(uid: int, gid: int) -> None:
    """Be `uid` and `gid` from now on, in the calling thread alone, and keep all power.

    glibc's functions would change every thread. The kernel takes powers away with the change of
    the ids (capabilities(7)), and core dumps from the whole process; here they are given back.
    Only for threads about to end.
    """
    about = f"thread of uid {uid}"
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    held = (_CapabilityData * 2)()
    dumpable = _check(_libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0), "prctl", "PR_GET_DUMPABLE")
    _check(_libc.capget(ctypes.byref(header), held), "capget", about)
    _check(_libc.syscall(_SETRESGID, *map(ctypes.c_uint, (_SAME, gid, _SAME))), "setresgid", about)
    _check(_libc.syscall(_SETRESUID, *map(ctypes.c_uint, (_SAME, uid, _SAME))), "setresuid", about)
    _check(_libc.capset(ctypes.byref(header), held), "capset", about)
    if dumpable == 1:  # only 0 and 1 can be set
        _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl", "PR_SET_DUMPABLE")


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent dies (prctl(2))."""
    option = _PR_SET_CHILD_SUBREAPER
    _check(_libc.prctl(option, 1, 0, 0, 0), "prctl", "PR_SET_CHILD_SUBREAPER")


def _check(result: int, call: str, about: str | Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", str(about))
    return result
