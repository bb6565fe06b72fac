"""What each field of a CRI request must be like, as tables by `Message.field`.

Fields that are not named here are only kept within bounds (`validation`); enumerations, ports and
user ids are checked where they are converted (`cri/convert`).
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import checks

REQUIRED: Final = frozenset(
    {
        "RunPodSandboxRequest.config",
        "CreateContainerRequest.config",
        "PodSandboxConfig.metadata",
        "ContainerConfig.metadata",
        "ContainerConfig.image",
        "UpdateContainerResourcesRequest.linux",
        "ExecSyncRequest.cmd",
        "ExecRequest.cmd",
        "ImageStatusRequest.image",
        "PullImageRequest.image",
        "RemoveImageRequest.image",
    }
)
"""Messages that must be set and lists that must have an item."""

UNREAD: Final = frozenset(
    {
        # The sandbox has its own configuration already; a second one would be a second truth.
        "CreateContainerRequest.sandbox_config",
        "PullImageRequest.sandbox_config",
        # An empty image matches all.
        "ImageFilter.image",
        # ferry runs no Windows containers.
        "PodSandboxConfig.windows",
        "ContainerConfig.windows",
        "UpdateContainerResourcesRequest.windows",
    }
)
"""Fields that ferry never looks at, so neither do the checks."""

_PATH: Final = checks.optional(checks.absolute)
_CPUSET: Final = checks.matches(r"[0-9,-]*", "a list such as 0-3,7")
_CAPABILITY: Final = checks.matches(r"[A-Za-z_]{1,64}", "a capability's name")
_SYSCTL: Final = checks.matches(
    r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*", "names joined by '.' or '/'"
)

TEXT: Final[Mapping[str, checks.Text]] = {
    "PodSandboxMetadata.name": checks.name,
    "PodSandboxMetadata.uid": checks.name,
    "PodSandboxMetadata.namespace": checks.name,
    "ContainerMetadata.name": checks.name,
    "RunPodSandboxRequest.runtime_handler": checks.optional(checks.name),
    "PodSandboxConfig.hostname": checks.optional(checks.hostname),
    "PodSandboxConfig.log_directory": _PATH,
    "DNSConfig.servers": checks.address,
    "DNSConfig.searches": checks.word,
    "DNSConfig.options": checks.word,
    "LinuxPodSandboxConfig.cgroup_parent": checks.optional(checks.cgroup),
    "LinuxPodSandboxConfig.sysctls": _SYSCTL,
    "NamespaceOption.target_id": checks.optional(checks.identifier),
    "ImageSpec.image": checks.reference,
    "PullRequest.namespace": checks.optional(checks.name),
    "PullRequest.reference": checks.reference,
    "ContainerConfig.log_path": checks.optional(checks.relative),
    "ContainerConfig.working_dir": _PATH,
    "KeyValue.key": checks.matches(r"[^=\0]+", "a name without '='"),
    "Mount.container_path": checks.absolute,
    "Mount.host_path": _PATH,
    "Mount.image_sub_path": checks.optional(checks.relative),
    "Mount.mount_options": checks.matches(r"[a-z]+", "an option such as noexec"),
    "Device.container_path": _PATH,
    "Device.host_path": checks.absolute,
    "Device.permissions": checks.matches(r"[rwm]{0,3}", "of the letters r, w and m"),
    "CDIDevice.name": checks.word,
    "LinuxContainerSecurityContext.run_as_username": checks.optional(checks.word),
    "LinuxContainerSecurityContext.masked_paths": checks.absolute,
    "LinuxContainerSecurityContext.readonly_paths": checks.absolute,
    "Capability.add_capabilities": _CAPABILITY,
    "Capability.drop_capabilities": _CAPABILITY,
    "Capability.add_ambient_capabilities": _CAPABILITY,
    "LinuxContainerResources.cpuset_cpus": _CPUSET,
    "LinuxContainerResources.cpuset_mems": _CPUSET,
    "LinuxContainerResources.unified": checks.matches(
        r"[a-z0-9_]+(\.[a-z0-9_]+)+", "a cgroup file"
    ),
    "HugepageLimit.page_size": checks.matches(r"[0-9]{1,9}[KMG]B", "a size such as 2MB"),
    "PodSandboxFilter.id": checks.optional(checks.identifier),
    "ContainerFilter.id": checks.optional(checks.identifier),
    "ContainerFilter.pod_sandbox_id": checks.optional(checks.identifier),
    "ContainerStatsFilter.id": checks.optional(checks.identifier),
    "ContainerStatsFilter.pod_sandbox_id": checks.optional(checks.identifier),
    "PodSandboxStatsFilter.id": checks.optional(checks.identifier),
    "NetworkConfig.pod_cidr": checks.optional(checks.word),
}
"""Strings, each item of lists of strings, and the keys of maps."""

IDS: Final[Mapping[str, checks.Text]] = {
    "pod_sandbox_id": checks.identifier,
    "container_id": checks.identifier,
}
"""Fields of any message that name something that exists already."""

_MAX: Final = 2**63 - 1
_SECONDS: Final = checks.between(0, 2**31)

NUMBERS: Final[Mapping[str, checks.Number]] = {
    "StopContainerRequest.timeout": _SECONDS,
    "ExecSyncRequest.timeout": _SECONDS,
    "LinuxContainerResources.cpu_period": checks.between(1_000, 1_000_000, 0),
    "LinuxContainerResources.cpu_quota": checks.between(1_000, _MAX, -1, 0),
    "LinuxContainerResources.cpu_shares": checks.between(0, _MAX),
    "LinuxContainerResources.memory_limit_in_bytes": checks.between(0, _MAX),
    "LinuxContainerResources.memory_swap_limit_in_bytes": checks.between(-1, _MAX),
    "LinuxContainerResources.oom_score_adj": checks.between(-1000, 1000),
}

Problem = tuple[str, str] | None
"""A field and what is wrong with it."""


def whole(message: Message) -> Problem:
    """Say what is wrong between the fields of one message, each of which is right by itself."""
    match message:
        case pb.Mount():
            return _mount(message)
        case pb.NamespaceOption() if message.pid == pb.TARGET and not message.target_id:
            return "target_id", "must not be empty when pid is TARGET"
        case pb.LinuxContainerSecurityContext():
            return _user(message)
        case _:
            return None


def _mount(mount: pb.Mount) -> Problem:
    image = mount.HasField("image") and bool(mount.image.image)
    private = mount.propagation == pb.PROPAGATION_PRIVATE
    if image == bool(mount.host_path):
        return "host_path", "must be set if `image` is not, and only then"
    if image and not mount.readonly:
        return "readonly", "must be true for an image"
    if mount.image_sub_path and not image:
        return "image_sub_path", "must be empty without `image`"
    if mount.recursive_read_only and not (mount.readonly and private):
        return "recursive_read_only", "wants `readonly` and private propagation"
    return None


def _user(security: pb.LinuxContainerSecurityContext) -> Problem:
    named = security.HasField("run_as_user") or security.run_as_username
    if security.HasField("run_as_group") and not named:
        return "run_as_group", "must not be set without run_as_user or run_as_username"
    return None
