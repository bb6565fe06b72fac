"""Sysctls of a pod: which belong to its namespaces, and how they are written there.

Only a sysctl that the kernel keeps per namespace may be set, and only where the pod has a
namespace of its own for it; everything else would change the node. Names are parsed, never
pasted: what passes can not leave /proc/sys.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from store.errors import InvalidArgumentError

_SYS: Final = Path("/proc/sys")
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:[./][a-z0-9_-]+)*")
_SWAP: Final = str.maketrans("./", "/.")
_IPC: Final = ("kernel/shm", "kernel/msg", "fs/mqueue/")
_MAX_VALUE: Final = 4096


def path_of(name: str) -> str:
    """Return the path below /proc/sys of a sysctl in either of sysctl(8)'s spellings.

    Whichever of `.` and `/` comes first is the separator: `net.ipv4.conf.eth0/100.forwarding` and
    `net/ipv4/conf/eth0.100/forwarding` are the same.

    Raises:
        InvalidArgumentError: this can not be a sysctl's name.
    """
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"cannot set sysctl {name[:80]!r}: not a sysctl's name")
    separator = next((letter for letter in name if letter in "./"), "/")
    return name if separator == "/" else name.translate(_SWAP)


def check_sysctls(sysctls: Mapping[str, str], *, network: bool, ipc: bool) -> None:
    """Accept sysctls that stay inside a pod.

    Args:
        sysctls: names and values as the request has them.
        network: whether the pod has a network namespace of its own.
        ipc: whether it has an IPC namespace of its own.

    Raises:
        InvalidArgumentError: one is malformed, or would change the node; names it.
    """
    for name, value in sysctls.items():
        _check_owner(name, path_of(name), network=network, ipc=ipc)
        if len(value) > _MAX_VALUE or not value.isprintable():
            raise InvalidArgumentError(f"cannot set sysctl {name!r}: the value is malformed")


def write_sysctls(sysctls: Mapping[str, str]) -> None:
    """Write checked sysctls in the namespaces of the calling thread.

    Raises:
        InvalidArgumentError: the kernel has no such sysctl in a namespace, or refuses the value.
    """
    for name, value in sysctls.items():
        try:
            _write(_SYS / path_of(name), value)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise InvalidArgumentError(
                f"cannot set sysctl {name!r} to {value[:80]!r} in the pod: {reason}"
            ) from error


def _check_owner(name: str, path: str, *, network: bool, ipc: bool) -> None:
    of_network = path.startswith("net/")
    if not of_network and path != "kernel/sem" and not path.startswith(_IPC):
        raise InvalidArgumentError(f"cannot set sysctl {name!r}: it belongs to the node, not a pod")
    if not (network if of_network else ipc):
        kind = "network" if of_network else "IPC"
        raise InvalidArgumentError(
            f"cannot set sysctl {name!r}: the pod shares the {kind} namespace of the node"
        )


def _write(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
