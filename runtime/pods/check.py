"""What is refused before anything is done: requests that can never work on this node."""

from pathlib import PurePosixPath

from runtime.pods import ContainerConfig, SandboxConfig
from runtime.pods.node import Node
from runtime.spec import MountRequest, NamespaceMode, Propagation
from runtime.spec.namespaces import check_modes, check_sysctls
from store.errors import InvalidArgumentError, UnimplementedError


def sandbox(node: Node, config: SandboxConfig) -> None:
    """Raise InvalidArgumentError, naming the field, if the sandbox cannot be made here."""
    modes = config.security.namespaces
    check_modes(modes)
    if modes.pid is NamespaceMode.TARGET:
        raise InvalidArgumentError("cannot use namespace_options.pid target for a pod")
    check_sysctls(config.sysctls, modes)
    if config.cgroup_parent:
        node.cgroup_paths.check_parent(config.cgroup_parent)
    if config.log_directory:
        _absolute("log_directory", config.log_directory)


def container(config: ContainerConfig) -> None:
    """Raise InvalidArgumentError, naming the field, if the container cannot be made anywhere."""
    for number, mount in enumerate(config.mounts):
        _mount(f"mounts[{number}]", mount)
    if config.cdi_devices:
        raise UnimplementedError("cannot use CDI_devices: not supported yet")
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
        raise UnimplementedError(f"cannot use {field}.image: image volumes are not supported yet")
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


def _absolute(field: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path or ".." in PurePosixPath(path).parts:
        raise InvalidArgumentError(f"cannot use {field} {path[:200]!r}: want a clean absolute path")
