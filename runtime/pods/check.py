"""What is refused before anything is done: requests that can never work on this node."""

from pathlib import PurePosixPath

from runtime.oci import Handler
from runtime.pods import ContainerConfig, Sandbox, SandboxConfig
from runtime.pods.node import Node
from runtime.spec import MountRequest, NamespaceMode, Propagation
from runtime.spec.namespaces import check_member, check_modes, check_sysctls
from runtime.spec.resources import check as check_resources
from runtime.spec.security import check_selinux
from store.errors import FailedPreconditionError, InvalidArgumentError


def sandbox(node: Node, config: SandboxConfig, handler: Handler) -> None:
    """Refuse a sandbox that cannot be made here.

    Raises:
        InvalidArgumentError: no node could make it; names the field.
        FailedPreconditionError: this node or the handler lacks what it takes.
    """
    modes = config.security.namespaces
    check_modes(modes)
    if modes.pid is NamespaceMode.TARGET:
        raise InvalidArgumentError("cannot use namespace_options.pid target for a pod")
    check_sysctls(config.sysctls, modes)
    check_selinux(config.security.selinux, available=node.host.selinux)
    if modes.mapped is not None:
        _user_namespaces(node, handler)
    check_resources(config.overhead, node.host)
    check_resources(config.resources, node.host)
    if config.cgroup_parent:
        node.cgroup_paths.check_parent(config.cgroup_parent)
    if config.log_directory:
        _absolute("log_directory", config.log_directory)


def _user_namespaces(node: Node, handler: Handler) -> None:
    can = handler.features
    obstacle = node.users_obstacle
    if not (can.user_namespaces and can.idmap_mounts):
        obstacle = f"the handler {handler.name} ({handler.binary} {can.version}) has none"
    if obstacle:
        raise FailedPreconditionError(f"cannot make the pod's user namespace: {obstacle}")


def member(sandbox: Sandbox, config: ContainerConfig) -> None:
    """Raise InvalidArgumentError if the container does not fit its sandbox."""
    check_member(config.security.namespaces, sandbox.config.security.namespaces)


def container(config: ContainerConfig) -> None:
    """Raise InvalidArgumentError, naming the field, if the container cannot be made anywhere."""
    for number, mount in enumerate(config.mounts):
        _mount(f"mounts[{number}]", mount)
    if config.log_path:
        relative = PurePosixPath(config.log_path)
        if relative.is_absolute() or ".." in relative.parts:
            raise InvalidArgumentError(f"cannot use log_path {config.log_path!r}: leaves its pod's")
    for number, device in enumerate(config.devices):
        _absolute(f"devices[{number}].host_path", device.host_path)
        _absolute(f"devices[{number}].container_path", device.container_path or device.host_path)


def _mount(field: str, mount: MountRequest) -> None:
    _absolute(f"{field}.container_path", mount.container_path)
    if mount.image:
        _image_volume(field, mount)
    else:
        _absolute(f"{field}.host_path", mount.host_path)
    if mount.recursive_readonly:
        if not mount.readonly:
            raise InvalidArgumentError(
                f"RROUnsupported: cannot use {field}: recursive_read_only needs readonly"
            )
        if mount.propagation is not Propagation.PRIVATE:
            raise InvalidArgumentError(
                f"RROUnsupported: cannot use {field}: recursive_read_only needs PROPAGATION_PRIVATE"
            )


def _image_volume(field: str, mount: MountRequest) -> None:
    if not mount.readonly:
        raise InvalidArgumentError(f"cannot use {field}.image: the mount must be readonly")
    if mount.host_path:
        raise InvalidArgumentError(f"cannot use {field}.image: host_path is set, too")
    sub_path = PurePosixPath(mount.image_sub_path)
    if sub_path.is_absolute() or ".." in sub_path.parts or "\0" in mount.image_sub_path:
        raise InvalidArgumentError(
            f"ImageVolumeMountFailed: cannot use {field}.image_sub_path "
            f"{mount.image_sub_path[:200]!r}: want a relative path without '..'"
        )


def _absolute(field: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path or ".." in PurePosixPath(path).parts:
        raise InvalidArgumentError(f"cannot use {field} {path[:200]!r}: want a clean absolute path")
