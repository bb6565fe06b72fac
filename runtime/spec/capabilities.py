"""Which capabilities a container's process gets.

The order of changes is CRI's: `ALL` in add, then `ALL` in drop, then single additions, then single
drops; so `drop ALL, add CHOWN` leaves CHOWN and `add ALL, drop CHOWN` everything else. Nothing is
inheritable (CVE-2022-24769) but what must be for the ambient set: capabilities(7) lets a
capability be ambient only while it is inheritable.
"""

from collections.abc import Iterable
from typing import Final

from runtime.spec import Capabilities, Json
from store.errors import FailedPreconditionError, InvalidArgumentError

_NUMBERED: Final = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""

_USUAL: Final = """
    AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP
    SETGID SETPCAP SETUID SYS_CHROOT
"""

KNOWN: Final = tuple(f"CAP_{name}" for name in _NUMBERED.split())
"""Every capability in the kernel's numbering (linux/capability.h)."""

DEFAULT: Final = frozenset(f"CAP_{name}" for name in _USUAL.split())
"""What a container gets that asks for nothing."""

_ALL: Final = "CAP_ALL"


def _names(field: str, given: Iterable[str]) -> list[str]:
    names = [f"CAP_{name.upper().removeprefix('CAP_')}" for name in given]
    for name in names:
        if name != _ALL and name not in KNOWN:
            raise InvalidArgumentError(f"cannot use {field} {name!r}: no such capability")
    return names


def _granted(names: Iterable[str], host: frozenset[str]) -> frozenset[str]:
    wanted = frozenset(names) - {_ALL}
    missing = sorted(wanted - host)
    if missing:
        raise FailedPreconditionError(
            f"cannot add the capabilities {', '.join(missing)}: this node's ferryd has none of them"
        )
    return wanted


def select(
    request: Capabilities, *, privileged: bool, host: Iterable[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the permitted set and the ambient set.

    Args:
        request: what to add and drop.
        privileged: give all that the host has; `request` is then not looked at.
        host: what this daemon may give.

    Raises:
        InvalidArgumentError: an unknown name.
        FailedPreconditionError: a capability was named that this daemon cannot give.
    """
    available = frozenset(host)
    if privileged:
        return available, frozenset()
    add = _names("capabilities.add", request.add)
    drop = _names("capabilities.drop", request.drop)
    ambient = _granted(_names("capabilities.ambient", request.ambient), available)
    chosen = available if _ALL in add else DEFAULT & available
    chosen = frozenset() if _ALL in drop else chosen
    return (chosen | _granted(add, available) | ambient) - frozenset(drop), ambient - frozenset(
        drop
    )


def document(permitted: frozenset[str], ambient: frozenset[str]) -> dict[str, Json]:
    """Return `process.capabilities`, each set in the kernel's order."""
    held: list[Json] = [name for name in KNOWN if name in permitted]
    raised: list[Json] = [name for name in KNOWN if name in ambient]
    sets: dict[str, Json] = {"bounding": held, "effective": held, "permitted": held}
    return {**sets, "inheritable": raised, "ambient": raised} if raised else sets
