"""Sandbox namespaces on the running kernel.

A thread that lives for one call unshares, sets up and pins the namespaces, and ends; no other
thread ever leaves the node's namespaces, so whatever goes wrong the daemon stays where it is.
A fresh thread and unshare(2) take about 0.7 ms; a pool of namespaces would save less than that.

Pins are bind mounts of /proc/thread-self/ns/*. They take the propagation of what they are in, so
that an unmount reaches every mount namespace a pin was copied to; each is unbindable itself, so
that a recursive bind of the directory above does not take it along and keep it alive.
"""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from runtime.kernel import NamespaceRequest, options, syscalls
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.syscalls import MountAttributes
from runtime.kernel.sysctls import check_sysctls, write_sysctls

T = TypeVar("T")

_KINDS: Final[Mapping[str, int]] = {
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
}
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
    """`Namespaces` of the running kernel."""

    def __init__(self, defaults: PodDefaults | None = None) -> None:
        self._defaults = defaults or PodDefaults()
        self._mounts = LinuxMounts()

    def create(self, request: NamespaceRequest) -> None:
        """Make and pin the namespaces; a failure leaves none."""
        check_sysctls(request.sysctls, network=request.network, ipc=request.ipc)
        request.directory.mkdir(parents=True, exist_ok=True)
        pinned: list[Path] = []
        try:
            in_thread(lambda: self._set_up(request, pinned))
        except BaseException:
            for pin in pinned:
                self._unpin(pin)
            _remove_empty(request.directory)
            raise

    def remove(self, directory: Path) -> None:
        """Unpin; the directory goes too once nothing else is in it."""
        for kind in _KINDS:
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

    def _set_up(self, request: NamespaceRequest, pinned: list[Path]) -> None:
        asked = {"net": request.network, "ipc": request.ipc, "uts": request.uts}
        kinds = [kind for kind, wanted in asked.items() if wanted]
        syscalls.unshare(sum(_KINDS[kind] for kind in kinds))
        if request.uts and request.hostname:
            socket.sethostname(request.hostname)
        if request.network:
            _loopback_up()
        defaults = self._defaults.sysctls() if request.network else {}
        write_sysctls(defaults | dict(request.sysctls))
        for kind in kinds:
            pin = request.directory / kind
            _create(pin)
            pinned.append(pin)
            _pin(kind, pin)


def in_thread(work: Callable[[], T], netns: Path | None = None) -> T:
    """Run `work` in a thread that lives for this call only, and return or raise what it does.

    Args:
        work: may change the namespaces of its thread.
        netns: a pinned network namespace to enter first.
    """
    call = _Call(work, netns)
    call.start()
    call.join()
    return call.result()


class _Call(threading.Thread, Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, work: Callable[[], T], netns: Path | None) -> None:
        super().__init__(name="namespaces", daemon=True)
        self._work = work
        self._netns = netns
        self._value: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            if self._netns is not None:
                enter(self._netns)
            self._value.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]


def enter(netns: Path) -> None:
    """Move the calling thread into a pinned network namespace; only for threads about to end."""
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _create(pin: Path) -> None:
    os.close(os.open(pin, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o444))


def _remove_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _pin(kind: str, pin: Path) -> None:
    syscalls.mount(str(_OWN / kind), str(pin), "", options.MS_BIND, "")
    unbindable = MountAttributes(propagation=options.MS_UNBINDABLE)
    syscalls.mount_setattr(syscalls.AT_FDCWD, pin, syscalls.AT_SYMLINK_NOFOLLOW, unbindable)
