"""What a container is asked to be, and the OCI runtime spec that follows: the contract.

The value types here are ferry's own form of CRI's configuration messages; `cri/convert` fills
them. `builder.build` is a pure function from them to the spec, pinned by golden files; every fact
about the host that it needs comes in as `HostFacts`. Security settings come from the request and
the node's configuration, never from an image.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from store.images import ImageConfig

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class NamespaceMode(enum.StrEnum):
    """Whose namespace a container uses (CRI NamespaceMode)."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


class Propagation(enum.StrEnum):
    """How mounts travel between host and container (CRI MountPropagation)."""

    PRIVATE = "rprivate"
    HOST_TO_CONTAINER = "rslave"
    BIDIRECTIONAL = "rshared"


class ProfileKind(enum.StrEnum):
    """Which security profile applies."""

    RUNTIME_DEFAULT = "RuntimeDefault"
    UNCONFINED = "Unconfined"
    LOCALHOST = "Localhost"


class GroupsPolicy(enum.StrEnum):
    """Whether the image's /etc/group adds to the requested groups."""

    MERGE = "Merge"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A seccomp or AppArmor choice; `localhost` is the absolute path or the profile's name."""

    kind: ProfileKind
    localhost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMapping:
    """A range of ids inside and outside a user namespace."""

    container_id: int
    host_id: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNamespace:
    """A pod's user namespace request (`hostUsers: false`)."""

    mode: NamespaceMode
    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceModes:
    """The namespace options of a sandbox or a container."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.POD
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    user: UserNamespace | None = None

    @property
    def mapped(self) -> UserNamespace | None:
        """The user namespace of the pod; None where its ids are the node's."""
        own = self.user is not None and self.user.mode is NamespaceMode.POD
        return self.user if own else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Names with or without `CAP_`, in any case; `ALL` stands for every one."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SELinux:
    """SELinux labels; honoured only where the kernel has it."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """CRI's LinuxContainerSecurityContext; for sandboxes the fields that they have."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    privileged: bool = False
    namespaces: NamespaceModes = field(default_factory=NamespaceModes)
    selinux: SELinux | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    groups_policy: GroupsPolicy = GroupsPolicy.MERGE
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: Profile | None = None
    apparmor: Profile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepageLimit:
    """A limit in bytes for one page size such as `2MB`."""

    page_size: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """CRI's LinuxContainerResources; 0 and empty mean "not set"."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit: int = 0
    memory_swap_limit: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepages: tuple[HugepageLimit, ...] = ()
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """One mount of a container. `host_path` is what the client gave; see `SpecRequest.sources`."""

    container_path: str
    host_path: str = ""
    readonly: bool = False
    recursive_readonly: bool = False
    propagation: Propagation = Propagation.PRIVATE
    selinux_relabel: bool = False
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    image: str = ""
    image_sub_path: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """A device of the host to give to a container; `permissions` are of `rwm`."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """Who PID 1 is, after the image's files have been looked at."""

    uid: int = 0
    gid: int = 0
    supplemental_groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """A limit of setrlimit(2) from the node's configuration; `kind` is `RLIMIT_...`."""

    kind: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A device of the host as the kernel knows it; `kind` is `c`, `b` or `p`."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedDevice:
    """A device node that the node's administrator adds; no owner is PID 1's user.

    `path` is the container's, `host_path` the node's.
    """

    path: str
    host_path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int | None = None
    gid: int | None = None
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedMount:
    """A mount that the node's administrator adds, in the OCI spec's own terms."""

    source: str
    target: str
    type: str = "bind"
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that the OCI runtime starts at some moment; `timeout` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What the devices that a request names (`runtime.cdi`) add to the spec, as files say.

    `env` entries are `NAME=value`; `hooks` are by the OCI spec's names; `rdt` is `linux.intelRdt`.
    """

    env: tuple[str, ...] = ()
    devices: tuple[EditedDevice, ...] = ()
    mounts: tuple[EditedMount, ...] = ()
    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    gids: tuple[int, ...] = ()
    rdt: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the spec depends on besides the request; gathered once by `runtime.spec.host`.

    `oom_score_floor` is the lowest value this daemon may set (its own, without CAP_SYS_RESOURCE).
    `capabilities` are those the daemon may grant (its bounding set), as `CAP_...` names.
    `apparmor_default` is the loaded profile that RuntimeDefault stands for, if there is one.
    `recursive_readonly` is what the kernel can and, in a request, the handler's program as well.
    """

    cgroup_version: int
    oom_score_floor: int
    capabilities: tuple[str, ...]
    apparmor: bool = False
    apparmor_default: str = ""
    selinux: bool = False
    recursive_readonly: bool = False
    swap_accounting: bool = False
    hugepage_sizes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPaths:
    """What a container shares with its pod, as paths on the host; None means "its own" or none.

    `pid` may also be a `/proc/<pid>/ns/pid` path of a holder or a target.
    """

    net: Path | None = None
    ipc: Path | None = None
    uts: Path | None = None
    user: Path | None = None
    pid: Path | None = None
    shm: Path | None = None
    resolv_conf: Path | None = None
    hostname: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecRequest:
    """Everything `build` looks at.

    `sources` maps each mount's `container_path` to the resolved host path to bind; those in
    `deeply_mapped` show the pod's ids in all that is mounted below as well; `devices` maps
    each device's `host_path` to the nodes it stands for (a directory gives several);
    `host_devices` are all of the host's, for privileged containers; `edits` win over the rest;
    `annotations` are written as they are, so they hold only what the handler allows
    (`runtime.spec.annotations`).
    """

    container_id: str
    container_name: str = ""
    image: ImageConfig
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, bytes], ...] = ()
    terminal: bool = False
    hostname: str = ""
    user: ProcessUser = field(default_factory=ProcessUser)
    mounts: tuple[MountRequest, ...] = ()
    sources: Mapping[str, Path] = field(default_factory=dict)
    deeply_mapped: frozenset[str] = frozenset()
    device_requests: tuple[DeviceRequest, ...] = ()
    devices: Mapping[str, tuple[DeviceNode, ...]] = field(default_factory=dict)
    host_devices: tuple[DeviceNode, ...] = ()
    edits: Edits = field(default_factory=Edits)
    resources: Resources = field(default_factory=Resources)
    rlimits: tuple[Rlimit, ...] = ()
    security: Security = field(default_factory=Security)
    sandbox: SandboxPaths = field(default_factory=SandboxPaths)
    sandbox_modes: NamespaceModes = field(default_factory=NamespaceModes)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroups_path: str = ""
    rootfs: Path = Path("rootfs")
    seccomp_profile: Mapping[str, Json] | None = None
    host: HostFacts
