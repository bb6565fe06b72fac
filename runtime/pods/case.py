"""What a container's plan is made for, and what comes to light on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel import Users
from runtime.pods import ContainerConfig, Sandbox
from runtime.pods.imagevolumes import ImageUse
from runtime.spec import DeviceNode, Edits, Json, MountRequest, NamespaceModes, ProcessUser
from store.images import UnpackedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A container that is asked for: its request, its images, its pod's user namespace."""

    sandbox: Sandbox
    id: str
    config: ContainerConfig
    image: UnpackedImage
    images: tuple[ImageUse, ...] = ()
    users: Users | None = None

    @property
    def modes(self) -> NamespaceModes:
        """The namespaces of the pod."""
        return self.sandbox.config.security.namespaces


@dataclass(frozen=True, slots=True, kw_only=True)
class OnNode:
    """What the node has of what the request names; see `SpecRequest` for the fields.

    `relabelled` are the sources of mounts whose files get the container's SELinux label.
    """

    sources: Mapping[str, Path]
    deeply_mapped: frozenset[str]
    devices: Mapping[str, tuple[DeviceNode, ...]]
    host_devices: tuple[DeviceNode, ...]
    edits: Edits
    seccomp: Mapping[str, Json] | None
    relabelled: tuple[Path, ...]
    log_path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InImage:
    """What the image's files say, and the volumes made for it."""

    user: ProcessUser
    volumes: tuple[MountRequest, ...]
