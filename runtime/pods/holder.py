"""The process that keeps a shared PID namespace alive, started when a container first needs it.

It is a task like any other (so it is found again after a restart, and its end is heard), whose
only program is a static init without capabilities, as nobody, in a root of its own.
"""

from pathlib import Path
from typing import Final

import msgspec

from runtime import blocking
from runtime.locks import Locks
from runtime.pods import Sandbox, users
from runtime.pods.files import shared_paths
from runtime.pods.node import Node
from runtime.spec import (
    Capabilities,
    MountRequest,
    NamespaceMode,
    NamespaceModes,
    ProcessUser,
    Profile,
    ProfileKind,
    Resources,
    Security,
    SpecRequest,
)
from runtime.spec.builder import build
from runtime.tasks import State, Task, TaskRequest
from store.errors import FailedPreconditionError
from store.images import ImageConfig

_NOBODY: Final = 65534
_ADJUSTMENT: Final = -998


class PidHolders:
    """Holders of shared PID namespaces, one for each sandbox that needs one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._locks = Locks()

    async def namespace(self, sandbox: Sandbox) -> Path:
        """Return the path of the sandbox's PID namespace; starts the holder if need be.

        Raises:
            FailedPreconditionError: the holder has died, or this node has no program for it.
        """
        async with self._locks.hold(sandbox.id):
            task = self._node.tasks.find(sandbox.namespace, sandbox.id)
            if task is None:
                task = await self._start(sandbox)
        if task.state is not State.RUNNING or task.process is None:
            raise FailedPreconditionError(
                f"cannot join the PID namespace of sandbox {sandbox.id}: its holder is "
                f"{task.state.value}"
            )
        return Path(f"/proc/{task.process.pid}/ns/pid")

    async def stop(self, sandbox: Sandbox) -> None:
        """Kill the holder, and so everything in the namespace; idempotent."""
        if self._node.tasks.find(sandbox.namespace, sandbox.id) is not None:
            await self._node.tasks.stop(sandbox.namespace, sandbox.id, 9, 0)

    async def remove(self, sandbox: Sandbox) -> None:
        """Remove what is left of the holder; idempotent."""
        await self._node.tasks.delete(sandbox.namespace, sandbox.id)

    async def _start(self, sandbox: Sandbox) -> Task:
        if self._node.holder is None:
            raise FailedPreconditionError(
                "cannot share a PID namespace: catatonit is missing (ferry doctor says more)"
            )
        bundle = self._node.layout.sandbox(sandbox.namespace, sandbox.id).directory / "holder"
        cgroups_path = self._node.cgroup_paths.container(sandbox.cgroup, sandbox.id)
        spec = self._spec(sandbox, self._node.holder, cgroups_path)
        modes = sandbox.config.security.namespaces
        await blocking.change(
            "holder", sandbox.id[:12], lambda: _write(bundle, msgspec.json.encode(spec), modes)
        )
        await self._node.tasks.create(
            TaskRequest(
                namespace=sandbox.namespace,
                id=sandbox.id,
                name=f"{sandbox.config.metadata.name}-pid",
                handler=sandbox.handler,
                bundle=bundle,
                cgroup=self._node.cgroup_paths.directory(cgroups_path),
            )
        )
        return await self._node.tasks.start(sandbox.namespace, sandbox.id)

    def _spec(self, sandbox: Sandbox, program: Path, cgroups_path: str) -> object:
        modes = sandbox.config.security.namespaces
        request = SpecRequest(
            container_id=sandbox.id,
            container_name="holder",
            image=ImageConfig(),
            command=("/holder", "-P"),
            user=_nobody(modes),
            mounts=(MountRequest(container_path="/holder", host_path=str(program), readonly=True),),
            sources={"/holder": program},
            resources=Resources(oom_score_adj=_ADJUSTMENT),
            security=Security(
                capabilities=Capabilities(drop=("ALL",)),
                namespaces=NamespaceModes(
                    network=modes.network, ipc=modes.ipc, pid=NamespaceMode.CONTAINER
                ),
                no_new_privs=True,
                readonly_rootfs=True,
                seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT),
            ),
            sandbox=shared_paths(self._node, sandbox),
            sandbox_modes=modes,
            cgroups_path=cgroups_path,
            host=self._node.host,
        )
        return build(request)


def _nobody(modes: NamespaceModes) -> ProcessUser:
    """Return nobody, or the last user there is."""
    held = users.mapping(modes)
    if held is None:
        return ProcessUser(uid=_NOBODY, gid=_NOBODY)
    return ProcessUser(
        uid=min(_NOBODY, held.uids.length - 1), gid=min(_NOBODY, held.gids.length - 1)
    )


def _write(bundle: Path, spec: bytes, modes: NamespaceModes) -> None:
    rootfs = bundle / "rootfs"
    rootfs.mkdir(parents=True, exist_ok=True)
    users.give(rootfs, modes)  # whoever makes mount points in it is the pod's root
    (bundle / "config.json").write_bytes(spec)
