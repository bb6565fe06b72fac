"""From a request to a bundle on disk: everything CreateContainer decides and can refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from runtime import blocking, operations, selinux
from runtime.pods import ContainerConfig, PodContainer, Sandbox, signals
from runtime.pods.case import Case, InImage, OnNode
from runtime.pods.files import hostname, shared_paths
from runtime.pods.holder import PidHolders
from runtime.pods.imagevolumes import ImageMounts, ImageVolumes, labels
from runtime.pods.inimage import enter
from runtime.pods.members import MemberTable
from runtime.pods.node import Node
from runtime.pods.onnode import look
from runtime.pods.rootfs import Base, RootFilesystems
from runtime.pods.users import pinned
from runtime.rollback import Rollback
from runtime.spec import HostFacts, NamespaceMode, SandboxPaths, SpecRequest
from runtime.spec.annotations import select
from runtime.spec.builder import build
from runtime.spec.security import file_label
from runtime.tasks import State, TaskRequest
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from store.images import UnpackedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `Planner.plan` came to: CRI's half of the record, and the task to create."""

    pod: PodContainer
    task: TaskRequest
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All that was looked at and made."""

    host: OnNode
    inside: InImage
    images: ImageMounts


class Planner:
    """Plans containers; what it makes on the way is pushed on the caller's rollback."""

    def __init__(self, node: Node, members: MemberTable, holders: PidHolders) -> None:
        self._node = node
        self._members = members
        self._holders = holders
        self._rootfs = RootFilesystems(node)
        self._images = ImageVolumes(node)

    async def plan(
        self, sandbox: Sandbox, id_: str, config: ContainerConfig, undo: Rollback
    ) -> Plan:
        """Make root filesystem and bundle for a container.

        Raises:
            NotFoundError: the image, or one that is mounted, is not here.
            InvalidArgumentError, FailedPreconditionError: the request cannot be met; names why.
        """
        case = self._case(sandbox, id_, config)
        stop_signal = signals.effective(config.stop_signal, case.image.config.stop_signal)
        paths = await self._paths(sandbox, config)
        # Paths of the node may hang, so they are looked at before anything is made.
        host = await blocking.run("look at paths", id_[:12], partial(look, self._node, case))
        label = file_label(config.security.selinux, self._node.host)
        await selinux.relabel_all(host.relabelled, label)
        files, inside = await self._rootfs.make(
            sandbox.namespace,
            id_,
            Base(image=case.image, users=case.users, label=label),
            undo,
            partial(enter, case),
        )
        images = await self._images.make(sandbox.namespace, id_, case.images, case.users, undo)
        found = _Found(host=host, inside=inside, images=images)
        cgroups_path = self._node.cgroup_paths.container(sandbox.cgroup, id_)
        spec = build(self._request(case, paths, found, cgroups_path))
        files.config.write_bytes(msgspec.json.encode(spec))
        return Plan(
            pod=_pod(case, found, stop_signal),
            labels=labels(id_, case.images, self._node.snapshotter.name),
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

    def _case(self, sandbox: Sandbox, id_: str, config: ContainerConfig) -> Case:
        files = self._node.layout.sandbox(sandbox.namespace, sandbox.id)
        return Case(
            sandbox=sandbox,
            id=id_,
            config=config,
            image=self._image(sandbox.namespace, config),
            images=self._images.find(sandbox.namespace, config.mounts),
            users=pinned(sandbox.config.security.namespaces, files),
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
        self, case: Case, paths: SandboxPaths, found: _Found, cgroups_path: str
    ) -> SpecRequest:
        sandbox, config = case.sandbox, case.config
        host, inside = found.host, found.inside
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
            sources={**volumes, **host.sources, **found.images.sources},
            deeply_mapped=host.deeply_mapped,
            device_requests=config.devices,
            devices=host.devices,
            host_devices=host.host_devices,
            edits=host.edits,
            resources=config.resources,
            rlimits=self._node.rlimits,
            security=config.security,
            sandbox=paths,
            sandbox_modes=case.modes,
            annotations=self._annotations(case),
            cgroups_path=cgroups_path,
            seccomp_profile=host.seccomp,
            host=self._facts(sandbox),
        )

    def _facts(self, sandbox: Sandbox) -> HostFacts:
        """Return what this node can, with the handler's program."""
        can = self._node.handler(sandbox.handler).features
        host = self._node.host
        deep = host.recursive_readonly and can.recursive_readonly
        return replace(host, recursive_readonly=deep)

    def _annotations(self, case: Case) -> dict[str, str]:
        allowed = self._node.handler(case.sandbox.handler).annotations
        asked = {**case.sandbox.config.annotations, **case.config.annotations}
        return select(asked, allowed)


def _pod(case: Case, found: _Found, stop_signal: str) -> PodContainer:
    config, image = case.config, case.image
    return PodContainer(
        sandbox_id=case.sandbox.id,
        config=config,
        image_id=image.id,
        image_ref=next(iter(image.repo_digests), image.id),
        image_name=config.image.user_specified or next(iter(image.repo_tags), image.id),
        log_path=str(found.host.log_path or ""),
        stop_signal=stop_signal,
        user=found.inside.user,
        resources=config.resources,
        mount_image_refs=found.images.refs,
    )
