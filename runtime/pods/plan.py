"""From a request to a bundle on disk: everything CreateContainer decides and can refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from runtime import blocking, operations
from runtime.pods import ContainerConfig, PodContainer, Sandbox, signals
from runtime.pods.files import hostname, shared_paths
from runtime.pods.holder import PidHolders
from runtime.pods.layout import ContainerFiles
from runtime.pods.members import MemberTable
from runtime.pods.node import Node
from runtime.pods.rootfs import RootFilesystems, volumes
from runtime.pods.sources import log_file, resolve
from runtime.rollback import Rollback
from runtime.spec import (
    DeviceNode,
    Json,
    MountRequest,
    NamespaceMode,
    ProcessUser,
    Profile,
    ProfileKind,
    SandboxPaths,
    SpecRequest,
)
from runtime.spec.annotations import select
from runtime.spec.beneath import ensure_directory_in_root
from runtime.spec.builder import build
from runtime.spec.devices import host_devices, scan
from runtime.spec.seccomp import read_profile
from runtime.spec.users import read_account_file, resolve_user
from runtime.tasks import State, TaskRequest
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from store.images import UnpackedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `Planner.plan` came to: CRI's half of the record, and the task to create."""

    pod: PodContainer
    task: TaskRequest


@dataclass(frozen=True, slots=True)
class _Case:
    """What a plan is made for."""

    sandbox: Sandbox
    id: str
    config: ContainerConfig
    image: UnpackedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """What the node has of what the request names."""

    sources: Mapping[str, Path]
    devices: Mapping[str, tuple[DeviceNode, ...]]
    host_devices: tuple[DeviceNode, ...]
    seccomp: Mapping[str, Json] | None
    log_path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    """What the image's files say, and the volumes made for it."""

    user: ProcessUser
    volumes: tuple[MountRequest, ...]


class Planner:
    """Plans containers; what it makes on the way is pushed on the caller's rollback."""

    def __init__(self, node: Node, members: MemberTable, holders: PidHolders) -> None:
        self._node = node
        self._members = members
        self._holders = holders
        self._rootfs = RootFilesystems(node)

    async def plan(
        self, sandbox: Sandbox, id_: str, config: ContainerConfig, undo: Rollback
    ) -> Plan:
        """Make root filesystem and bundle for a container.

        Raises:
            NotFoundError: the image is not here.
            InvalidArgumentError, FailedPreconditionError: the request cannot be met; names why.
        """
        image = self._image(sandbox.namespace, config)
        case = _Case(sandbox, id_, config, image)
        stop_signal = signals.effective(config.stop_signal, image.config.stop_signal)
        paths = await self._paths(sandbox, config)
        # Paths of the node may hang, so they are looked at before anything is made.
        host = await blocking.run("look at paths", id_[:12], partial(_look, case))
        files, inside = await self._rootfs.make(
            sandbox.namespace, id_, image, undo, partial(_enter, case)
        )
        cgroups_path = self._node.cgroup_paths.container(sandbox.cgroup, id_)
        spec = build(self._request(case, paths, (host, inside), cgroups_path))
        files.config.write_bytes(msgspec.json.encode(spec))
        return Plan(
            pod=_pod(case, (host, inside), stop_signal),
            task=TaskRequest(
                namespace=sandbox.namespace,
                id=id_,
                name=config.metadata.name,
                handler=sandbox.handler,
                bundle=files.bundle,
                cgroup=self._node.cgroup_paths.directory(cgroups_path),
                log_path=host.log_path,
                terminal=config.tty,
                stdin=config.stdin,
                stdin_once=config.stdin_once,
            ),
        )

    def _image(self, namespace: str, config: ContainerConfig) -> UnpackedImage:
        operations.stage("image", config.image.image)
        image = self._node.images.find(namespace, config.image.image)
        if image is None:
            raise NotFoundError(
                f"cannot find image {config.image.image!r} in namespace {namespace}: pull it first"
            )
        return image

    async def _paths(self, sandbox: Sandbox, config: ContainerConfig) -> SandboxPaths:
        shared = shared_paths(self._node, sandbox)
        modes = config.security.namespaces
        of_the_node = sandbox.config.security.namespaces.pid is NamespaceMode.NODE
        match modes.pid:
            case NamespaceMode.POD if of_the_node:
                return shared
            case NamespaceMode.POD:
                return replace(shared, pid=await self._holders.namespace(sandbox))
            case NamespaceMode.TARGET:
                return replace(shared, pid=self._target(sandbox, modes.target_id))
            case NamespaceMode.CONTAINER | NamespaceMode.NODE:
                return shared

    def _target(self, sandbox: Sandbox, target_id: str) -> Path:
        target = self._members.get(sandbox.namespace, target_id)
        if target.pod.sandbox_id != sandbox.id:
            raise InvalidArgumentError(
                f"cannot use namespace_options.target_id {target_id!r}: not in sandbox {sandbox.id}"
            )
        task = self._node.tasks.find(sandbox.namespace, target.id)
        if task is None or task.state is not State.RUNNING or task.process is None:
            raise FailedPreconditionError(
                f"cannot join the PID namespace of container {target.id}: it is not running"
            )
        return Path(f"/proc/{task.process.pid}/ns/pid")

    def _request(
        self, case: _Case, paths: SandboxPaths, found: tuple[_Host, _Inside], cgroups_path: str
    ) -> SpecRequest:
        sandbox, config = case.sandbox, case.config
        host, inside = found
        volumes = {mount.container_path: Path(mount.host_path) for mount in inside.volumes}
        return SpecRequest(
            container_id=case.id,
            container_name=config.metadata.name,
            image=case.image.config,
            command=config.command,
            args=config.args,
            working_dir=config.working_dir,
            env=config.env,
            terminal=config.tty,
            hostname=hostname(sandbox),
            user=inside.user,
            mounts=(*inside.volumes, *config.mounts),
            sources={**volumes, **host.sources},
            device_requests=config.devices,
            devices=host.devices,
            host_devices=host.host_devices,
            resources=config.resources,
            rlimits=self._node.rlimits,
            security=config.security,
            sandbox=paths,
            sandbox_modes=sandbox.config.security.namespaces,
            annotations=self._annotations(case),
            cgroups_path=cgroups_path,
            seccomp_profile=host.seccomp,
            host=self._node.host,
        )

    def _annotations(self, case: _Case) -> dict[str, str]:
        allowed = self._node.handler(case.sandbox.handler).annotations
        asked = {**case.sandbox.config.annotations, **case.config.annotations}
        return select(asked, allowed)


def _look(case: _Case) -> _Host:
    """Look at the node's file systems. Blocking, may hang."""
    config = case.config
    privileged = config.security.privileged
    return _Host(
        sources=resolve(config.mounts),
        devices={device.host_path: scan(device.host_path) for device in config.devices},
        host_devices=host_devices() if privileged else (),
        seccomp=_localhost(config.security.seccomp, privileged=privileged),
        log_path=log_file(case.sandbox.config.log_directory, config.log_path),
    )


def _enter(case: _Case, files: ContainerFiles) -> _Inside:
    """Look at the image's files, and make what the container wants of them. Blocking."""
    config = case.config
    directory = config.working_dir or case.image.config.working_dir
    if directory:
        ensure_directory_in_root(files.rootfs, directory)
    return _Inside(
        user=resolve_user(
            case.image.config.user,
            config.security,
            read_account_file(files.rootfs, "/etc/passwd"),
            read_account_file(files.rootfs, "/etc/group"),
        ),
        volumes=volumes(case.image, config.mounts, files),
    )


def _localhost(profile: Profile | None, *, privileged: bool) -> Mapping[str, Json] | None:
    if profile is None or profile.kind is not ProfileKind.LOCALHOST or privileged:
        return None
    return read_profile(profile.localhost)


def _pod(case: _Case, found: tuple[_Host, _Inside], stop_signal: str) -> PodContainer:
    config, image = case.config, case.image
    host, inside = found
    return PodContainer(
        sandbox_id=case.sandbox.id,
        config=config,
        image_id=image.id,
        image_ref=next(iter(image.repo_digests), image.id),
        image_name=config.image.user_specified or next(iter(image.repo_tags), image.id),
        log_path=str(host.log_path or ""),
        stop_signal=stop_signal,
        user=inside.user,
        resources=config.resources,
    )
