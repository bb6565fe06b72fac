"""The kernel in memory, for tests of whoever mounts and unshares; passes its contract suites."""

import errno
import os
from pathlib import Path

from runtime.kernel import NamespaceRequest, Users
from runtime.kernel.sysctls import check_sysctls
from store.errors import InvalidArgumentError
from store.snapshots import Mount

UNKNOWN_SYSCTL = "net.ipv4.ferry_has_no_such_sysctl"


class MemoryMounts:
    """`Mounts` that only remembers; `failure` is raised by the next `mount`."""

    def __init__(self) -> None:
        self.mounts: dict[Path, list[Mount]] = {}
        self.users: dict[Path, Users] = {}
        self.unmappable: set[Path] = set()
        self.failure: Exception | None = None

    def mount(self, mount: Mount, target: Path, *, users: Users | None = None) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(target))
        target.stat()
        if users is not None:
            if not {"bind", "rbind"} & set(mount.options) and mount.type != "overlay":
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(target))
            self.users[target] = users
        self.mounts.setdefault(target, []).append(mount)

    def unmount(self, target: Path, *, lazy: bool = True) -> bool:
        del lazy
        self.users.pop(target, None)
        return self.mounts.pop(target, None) is not None

    def mappable(self, source: Path, users: Users, *, recursive: bool = False) -> bool:
        del users
        source.stat()
        if recursive and any(source in path.parents for path in self.unmappable):
            return False
        return source not in self.unmappable

    def mounted(self, below: Path) -> list[Path]:
        found = [path for path in self.mounts if path == below or below in path.parents]
        return sorted(found, key=lambda path: (-len(path.parts), path))


class MemoryNamespaces:
    """`Namespaces` that only remembers; `failure` is raised by the next `create`."""

    def __init__(self) -> None:
        self.requests: dict[Path, NamespaceRequest] = {}
        self.failure: Exception | None = None

    def create(self, request: NamespaceRequest) -> None:
        check_sysctls(request.sysctls, network=request.network, ipc=request.ipc)
        if UNKNOWN_SYSCTL in request.sysctls:
            raise InvalidArgumentError(f"cannot set sysctl {UNKNOWN_SYSCTL!r}")
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if request.directory in self.requests:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(request.directory))
        self.requests[request.directory] = request

    def remove(self, directory: Path) -> None:
        self.requests.pop(directory, None)

    def alive(self, directory: Path, kinds: tuple[str, ...]) -> bool:
        request = self.requests.get(directory)
        if request is None:
            return False
        made = {"net": request.network, "ipc": request.ipc, "uts": request.uts}
        made["user"] = request.users is not None
        return all(made[kind] for kind in kinds)
