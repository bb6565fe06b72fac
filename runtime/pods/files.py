"""A sandbox's namespaces and files on the node, made and taken away."""

import os
from pathlib import Path
from typing import Final

from runtime import blocking, selinux
from runtime.kernel import NamespaceRequest
from runtime.pods import Sandbox, SandboxConfig, users
from runtime.pods.dns import resolv_conf
from runtime.pods.layout import SandboxFiles
from runtime.pods.node import Node
from runtime.spec import NamespaceMode, SandboxPaths
from runtime.spec.security import file_label
from store import trees
from store.snapshots import Mount

_SHM_OPTIONS: Final = ("nosuid", "nodev", "noexec", "mode=1777")


def hostname(sandbox: Sandbox) -> str:
    """Return the name the pod's UTS namespace gets: the request's, the host's, or from the id."""
    if sandbox.config.hostname:
        return sandbox.config.hostname
    if sandbox.config.security.namespaces.network is NamespaceMode.NODE:
        return os.uname().nodename
    return sandbox.id[:12]


def namespace_request(config: SandboxConfig, name: str, directory: Path) -> NamespaceRequest:
    """Return which namespaces a sandbox of this configuration has of its own."""
    modes = config.security.namespaces
    own_network = modes.network is not NamespaceMode.NODE
    return NamespaceRequest(
        directory=directory,
        network=own_network,
        uts=own_network,
        ipc=modes.ipc is not NamespaceMode.NODE,
        users=users.mapping(modes),
        hostname=name,
        sysctls=config.sysctls,
    )


def kinds(config: SandboxConfig) -> tuple[str, ...]:
    """Return the namespaces that must stay pinned for the sandbox to be usable."""
    request = namespace_request(config, "", Path())
    wanted = {"net": request.network, "uts": request.uts, "ipc": request.ipc}
    wanted["user"] = request.users is not None
    return tuple(kind for kind, own in wanted.items() if own)


def shared_paths(node: Node, sandbox: Sandbox) -> SandboxPaths:
    """Return what every container of the sandbox shares with it, but for the PID namespace."""
    files = node.layout.sandbox(sandbox.namespace, sandbox.id)
    own = kinds(sandbox.config)
    return SandboxPaths(
        net=files.namespace("net") if "net" in own else None,
        ipc=files.namespace("ipc") if "ipc" in own else None,
        uts=files.namespace("uts") if "uts" in own else None,
        user=files.namespace("user") if "user" in own else None,
        shm=files.shm if "ipc" in own else None,
        resolv_conf=files.resolv_conf,
        hostname=files.hostname,
    )


class SandboxMaker:
    """Makes, unpins and removes; each in one call on a thread."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def make(self, sandbox: Sandbox) -> None:
        """Make the directory, its files, the shared memory mount and the namespaces."""
        await blocking.change("namespaces", sandbox.id[:12], lambda: self._make(sandbox))

    async def unpin(self, sandbox: Sandbox) -> None:
        """Let go of the namespaces and the shared memory; idempotent."""
        await blocking.change(
            "unpin namespaces", sandbox.id[:12], lambda: self._unpin(self._files(sandbox))
        )

    async def remove(self, sandbox: Sandbox) -> None:
        """Remove all that is left on disk, and a cgroup that ferry chose itself; idempotent."""
        await blocking.change("remove files", sandbox.id[:12], lambda: self._remove(sandbox))

    async def sweep(self, namespace: str, id_: str) -> None:
        """Remove the files of a sandbox that has no record."""
        files = self._node.layout.sandbox(namespace, id_)
        await blocking.change("sweep", id_[:12], lambda: self._clear(files))

    def _files(self, sandbox: Sandbox) -> SandboxFiles:
        return self._node.layout.sandbox(sandbox.namespace, sandbox.id)

    def _make(self, sandbox: Sandbox) -> None:
        files, config = self._files(sandbox), sandbox.config
        files.namespaces.mkdir(parents=True, mode=0o711)
        name = hostname(sandbox)
        files.hostname.write_text(name + "\n")
        files.resolv_conf.write_text(self._resolv_conf(config))
        for path in (files.hostname, files.resolv_conf):
            users.give(path, config.security.namespaces)
        request = namespace_request(config, name, files.namespaces)
        if request.ipc:
            label = file_label(config.security.selinux, self._node.host)
            self._share_memory(files.shm, request, label)
        self._node.namespaces.create(request)

    def _share_memory(self, shm: Path, request: NamespaceRequest, label: str) -> None:
        owner: tuple[str, ...] = ()
        if request.users is not None:
            owner = (f"uid={request.users.uids.first}", f"gid={request.users.gids.first}")
        shm.mkdir(mode=0o755)
        options = (*_SHM_OPTIONS, f"size={self._node.shm_size}", *owner, *selinux.context(label))
        self._node.mounts.mount(Mount(type="tmpfs", source="shm", options=options), shm)

    def _resolv_conf(self, config: SandboxConfig) -> str:
        if config.dns is not None:
            return resolv_conf(config.dns)
        try:
            return self._node.host_resolv_conf.read_text()
        except FileNotFoundError:
            return ""

    def _unpin(self, files: SandboxFiles) -> None:
        self._node.namespaces.remove(files.namespaces)
        self._node.mounts.unmount(files.shm)

    def _clear(self, files: SandboxFiles) -> None:
        self._unpin(files)
        trees.remove_tree(files.directory)

    def _remove(self, sandbox: Sandbox) -> None:
        self._clear(self._files(sandbox))
        if not sandbox.config.cgroup_parent:
            self._node.cgroups.remove(self._node.cgroup_paths.directory(sandbox.cgroup))
