"""Sandbox namespaces on the running kernel.

A thread that lives for one call unshares, sets up and pins the namespaces, and ends. A fresh thread
and unshare(2) take about 0.7 ms; a pool of namespaces would save less than that. Those that a user
namespace owns are made by a process (`runtime.kernel.users`), and the thread enters them.

Pins are bind mounts of /proc/thread-self/ns/*. They take the propagation of what they are in, so
that an unmount reaches every mount namespace a pin was copied to; each is unbindable itself, so
that a recursive bind of the directory above does not take it along and keep it alive.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from runtime.kernel import NamespaceRequest, UserMapping, options, syscalls, users
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.syscalls import MountAttributes
from runtime.kernel.sysctls import check_sysctls, write_sysctls
from runtime.kernel.threads import in_thread, join
from runtime.kernel.users import UserPrograms
from store.errors import FailedPreconditionError

_KINDS: Final[Mapping[str, int]] = {
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
}
_USER: Final = "user"
_OWN: Final = Path("/proc/thread-self/ns")
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDefaults:
    """Sysctls that every new pod network starts with, unless its request says otherwise.

    `unprivileged_ports` lets any user bind ports below 1024, `unprivileged_ping` lets any group
    open ICMP echo sockets: both safe in a network namespace that a pod has for itself.
    """

    unprivileged_ports: bool = False
    unprivileged_ping: bool = False

    def sysctls(self) -> dict[str, str]:
        """Return them by name."""
        result: dict[str, str] = {}
        if self.unprivileged_ports:
            result["net.ipv4.ip_unprivileged_port_start"] = "0"
        if self.unprivileged_ping:
            result["net.ipv4.ping_group_range"] = "0 2147483647"
        return result


class LinuxNamespaces:
    """`Namespaces` of the running kernel.

    Args:
        defaults: of every new pod network.
        programs: make user namespaces; without them there are none.
    """

    def __init__(
        self, defaults: PodDefaults | None = None, programs: UserPrograms | None = None
    ) -> None:
        self._defaults = defaults or PodDefaults()
        self._programs = programs
        self._mounts = LinuxMounts()

    def create(self, request: NamespaceRequest) -> None:
        """Make and pin the namespaces; a failure leaves none."""
        check_sysctls(request.sysctls, network=request.network, ipc=request.ipc)
        request.directory.mkdir(parents=True, exist_ok=True)
        pinned: list[Path] = []
        try:
            if request.users is None:
                in_thread(partial(self._unshared, request, pinned))
            else:
                self._owned(request, request.users, pinned)
        except BaseException:
            for pin in pinned:
                self._unpin(pin)
            _remove_empty(request.directory)
            raise

    def remove(self, directory: Path) -> None:
        """Unpin; the directory goes too once nothing else is in it."""
        for kind in (*_KINDS, _USER):
            self._unpin(directory / kind)
        _remove_empty(directory)

    def alive(self, directory: Path, kinds: tuple[str, ...]) -> bool:
        """Tell whether every one of `kinds` is still pinned: nsfs has a device of its own."""
        device = (_OWN / "net").stat().st_dev
        try:
            return all((directory / kind).stat().st_dev == device for kind in kinds)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _unpin(self, pin: Path) -> None:
        self._mounts.unmount(pin)
        pin.unlink(missing_ok=True)

    def _unshared(self, request: NamespaceRequest, pinned: list[Path]) -> None:
        kinds = _own_kinds(request)
        syscalls.unshare(sum(_KINDS[kind] for kind in kinds))
        self._set_up(request)
        for kind in kinds:
            _pin(_OWN / kind, request.directory / kind, pinned)

    def _owned(self, request: NamespaceRequest, mapping: UserMapping, pinned: list[Path]) -> None:
        if self._programs is None:
            raise FailedPreconditionError(
                "cannot make a user namespace: unshare or cat is missing (ferry doctor says more)"
            )
        kinds = _own_kinds(request)
        with users.held(self._programs, mapping, kinds) as made:
            in_thread(partial(self._enter, request, mapping, made))
            for kind in (_USER, *kinds):
                _pin(made / kind, request.directory / kind, pinned)

    def _enter(self, request: NamespaceRequest, mapping: UserMapping, made: Path) -> None:
        for kind in _own_kinds(request):
            join(made / kind, _KINDS[kind])
        # The sysctls of an IPC namespace are its owner's, whatever else one may do.
        syscalls.act_as(mapping.uids.first, mapping.gids.first)
        self._set_up(request)

    def _set_up(self, request: NamespaceRequest) -> None:
        """Set what the namespaces of this thread start with."""
        if request.uts and request.hostname:
            socket.sethostname(request.hostname)
        if request.network:
            _loopback_up()
        defaults = self._defaults.sysctls() if request.network else {}
        write_sysctls(defaults | dict(request.sysctls))


def _own_kinds(request: NamespaceRequest) -> list[str]:
    asked = {"net": request.network, "ipc": request.ipc, "uts": request.uts}
    return [kind for kind, wanted in asked.items() if wanted]


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _remove_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _pin(namespace: Path, pin: Path, pinned: list[Path]) -> None:
    os.close(os.open(pin, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    pinned.append(pin)
    syscalls.mount(str(namespace), str(pin), "", options.MS_BIND, "")
    unbindable = MountAttributes(propagation=options.MS_UNBINDABLE)
    syscalls.mount_setattr(syscalls.AT_FDCWD, pin, syscalls.AT_SYMLINK_NOFOLLOW, unbindable)
