"""Containers: configuration, statuses and filters."""

from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.enums import (
    CONTAINER_STATE_NUMBERS,
    CONTAINER_STATES,
    PROPAGATION_NUMBERS,
    PROPAGATIONS,
    SIGNALS,
    known,
    signal_to,
)
from cri.convert.resources import resources_from, resources_to
from cri.convert.security import container_security_from, mappings_from, mappings_to
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerStatus,
    Filter,
    ImageRequest,
    PodContainer,
)
from runtime.spec import DeviceRequest, MountRequest, ProcessUser


def container_config_from(message: pb.ContainerConfig, at: str = "config") -> ContainerConfig:
    """Return a container's configuration."""
    return ContainerConfig(
        metadata=ContainerMetadata(name=message.metadata.name, attempt=message.metadata.attempt),
        image=_image_from(message.image),
        command=tuple(message.command),
        args=tuple(message.args),
        working_dir=message.working_dir,
        env=tuple((pair.key, pair.value) for pair in message.envs),
        mounts=tuple(
            _mount_from(mount, f"{at}.mounts[{index}]")
            for index, mount in enumerate(message.mounts)
        ),
        devices=tuple(_device_from(device) for device in message.devices),
        cdi_devices=tuple(device.name for device in message.CDI_devices),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        log_path=message.log_path,
        stdin=message.stdin,
        stdin_once=message.stdin_once,
        tty=message.tty,
        resources=resources_from(message.linux.resources),
        security=container_security_from(
            message.linux.security_context, f"{at}.linux.security_context"
        ),
        stop_signal=known(SIGNALS, message.stop_signal, f"{at}.stop_signal"),
    )


def container_filter_from(message: pb.ContainerFilter) -> Filter:
    """Return what ListContainers asks for; an empty filter matches all."""
    state = message.state.state
    return Filter(
        id=message.id,
        state=known(CONTAINER_STATES, state, "filter.state") if message.HasField("state") else "",
        sandbox_id=message.pod_sandbox_id,
        labels=dict(message.label_selector),
    )


# Clients refuse a container without these, and with it everything else about its pod. Only one
# whose record is damaged lacks them.
_LOST: Final = "unknown"
_LONG_AGO: Final = 1


def container_to(status: ContainerStatus) -> pb.Container:
    """Return a container as a list shows it."""
    container = status.container
    return pb.Container(
        id=status.id,
        pod_sandbox_id=container.sandbox_id,
        metadata=container_metadata_to(container.config.metadata),
        image=_image_to(container),
        image_ref=container.image_ref or _LOST,
        state=CONTAINER_STATE_NUMBERS[status.state],
        created_at=status.created_at or _LONG_AGO,
        labels=container.config.labels,
        annotations=container.config.annotations,
        image_id=container.image_id,
    )


def container_status_to(status: ContainerStatus) -> pb.ContainerStatus:
    """Return a container as ContainerStatus shows it."""
    container = status.container
    return pb.ContainerStatus(
        id=status.id,
        metadata=container_metadata_to(container.config.metadata),
        state=CONTAINER_STATE_NUMBERS[status.state],
        created_at=status.created_at or _LONG_AGO,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        image=_image_to(container),
        image_ref=container.image_ref or _LOST,
        reason=status.reason,
        message=status.message,
        labels=container.config.labels,
        annotations=container.config.annotations,
        mounts=[_mount_to(mount, container) for mount in container.config.mounts],
        log_path=container.log_path,
        resources=pb.ContainerResources(linux=resources_to(container.resources)),
        image_id=container.image_id,
        user=pb.ContainerUser(linux=_user_to(container.user)),
        stop_signal=signal_to(container.stop_signal),
    )


def container_metadata_to(metadata: ContainerMetadata) -> pb.ContainerMetadata:
    """Return what names a container."""
    return pb.ContainerMetadata(name=metadata.name or _LOST, attempt=metadata.attempt)


def _image_from(message: pb.ImageSpec) -> ImageRequest:
    return ImageRequest(
        image=message.image,
        user_specified=message.user_specified_image,
        annotations=dict(message.annotations),
    )


def _image_to(container: PodContainer) -> pb.ImageSpec:
    asked = container.config.image
    return pb.ImageSpec(
        image=container.image_name or _LOST,
        annotations=asked.annotations,
        user_specified_image=asked.user_specified,
    )


def _mount_from(message: pb.Mount, at: str) -> MountRequest:
    return MountRequest(
        container_path=message.container_path,
        host_path=message.host_path,
        readonly=message.readonly,
        recursive_readonly=message.recursive_read_only,
        propagation=known(PROPAGATIONS, message.propagation, f"{at}.propagation"),
        selinux_relabel=message.selinux_relabel,
        uid_mappings=mappings_from(message.uidMappings),
        gid_mappings=mappings_from(message.gidMappings),
        image=message.image.image,
        image_sub_path=message.image_sub_path,
        options=tuple(message.mount_options),
    )


def _mount_to(mount: MountRequest, container: PodContainer) -> pb.Mount:
    return pb.Mount(
        container_path=mount.container_path,
        host_path=mount.host_path,
        readonly=mount.readonly,
        recursive_read_only=mount.recursive_readonly,
        propagation=PROPAGATION_NUMBERS[mount.propagation],
        selinux_relabel=mount.selinux_relabel,
        uidMappings=mappings_to(mount.uid_mappings),
        gidMappings=mappings_to(mount.gid_mappings),
        image=_mounted_image_to(mount, container) if mount.image else None,
        image_sub_path=mount.image_sub_path,
        mount_options=mount.options,
    )


def _mounted_image_to(mount: MountRequest, container: PodContainer) -> pb.ImageSpec:
    """`image_ref` is what the mounted image was when the container was made."""
    ref = container.mount_image_refs.get(mount.container_path, "")
    return pb.ImageSpec(image=mount.image, image_ref=ref)


def _device_from(message: pb.Device) -> DeviceRequest:
    return DeviceRequest(
        container_path=message.container_path,
        host_path=message.host_path,
        permissions=message.permissions or "rwm",
    )


def _user_to(user: ProcessUser) -> pb.LinuxContainerUser:
    return pb.LinuxContainerUser(
        uid=user.uid, gid=user.gid, supplemental_groups=user.supplemental_groups
    )
