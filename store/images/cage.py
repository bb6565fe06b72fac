"""The cage a layer is unpacked in: a process that can reach one directory and little else.

The directory becomes the root of a mount namespace that has no other mount, so that no name,
symbolic link or hard link leads out of it. Of the descriptors only those handed in stay, of root's
capabilities those that making files with owners, modes and device numbers needs. The process
cannot gain privileges, dies with its parent, and is the first to go when memory runs out.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Final

from store.images.layers import Limits

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_AT_FDCWD: Final = -100
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_EMPTY_SOURCE: Final = 0x4
_MS_PRIVATE: Final = 1 << 18
_MS_REC: Final = 1 << 14
_MNT_DETACH: Final = 2
_CLONE_NEWNS: Final = 0x00020000
_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION: Final = 0x20080522
_MOST_CAPABILITIES: Final = 64
_OOM_SCORE: Final = b"800"

# linux/capability.h: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
_KEPT: Final = frozenset({0, 1, 3, 4, 27, 31})


def enter(root: int, limits: Limits) -> None:
    """Shut this process in the directory `root` for good.

    Args:
        root: a descriptor of the directory; it is closed.
        limits: `memory` and `seconds` become resource limits, `size` the largest file.

    Raises:
        OSError: a step failed; the process must end.
    """
    _lower_standing()
    _become_root(root)
    os.close(root)
    _limit(limits)
    _drop_capabilities()
    _call("no_new_privs", _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    os.umask(0)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends.

    Raises:
        ProcessLookupError: the parent is not `parent` any more.
    """
    _call("pdeathsig", _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is gone")


def keep_only(fds: list[int]) -> list[int]:
    """Close all descriptors but `fds` and answer their new numbers; 0 to 2 become /dev/null."""
    standard = 3
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    # First out of the way of the numbers they are going to have.
    spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, standard + len(fds)) for fd in fds]
    for fd in range(standard):
        os.dup2(null, fd)
    numbers = [os.dup2(fd, standard + at, inheritable=False) for at, fd in enumerate(spare)]
    os.closerange(standard + len(fds), 1 << 20)
    return numbers


def _lower_standing() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)


def _become_root(directory: int) -> None:
    """Make `directory` the root of a mount namespace that has nothing else in it."""
    # The descriptor stays in the old namespace; the working directory moves to the new one.
    os.fchdir(directory)
    _call("unshare", _LIBC.unshare(_CLONE_NEWNS))
    _call("make / private", _LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = _call("open_tree", _LIBC.syscall(_SYS_OPEN_TREE, _AT_FDCWD, b".", flags))
    moved = _LIBC.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, b".", _MOVE_MOUNT_EMPTY_SOURCE)
    _call("move_mount", moved)
    os.fchdir(tree)
    os.close(tree)
    # pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one.
    _call("pivot_root", _LIBC.pivot_root(b".", b"."))
    _call("unmount the old root", _LIBC.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def _limit(limits: Limits) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.size),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _drop_capabilities() -> None:
    for capability in range(_MOST_CAPABILITIES):
        # The first that the kernel does not know ends the list.
        if _LIBC.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            break
        if capability not in _KEPT:
            _call("drop a capability", _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    mask = sum(1 << capability for capability in _KEPT)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    data = struct.pack("=6I", mask, mask, 0, 0, 0, 0)
    _call("capset", _LIBC.capset(header, data))


def _call(action: str, result: int) -> int:
    """Return `result`, or raise what errno says when it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")
    return result
