"""Pods as CRI sees them: sandboxes and the containers in them: the contract.

Everything lives in a namespace of the model (`k8s.io` for CRI): a pod's container is a container
record plus a task, with what CRI alone needs kept beside them as an extension. Lists and statuses
are answered from memory.

A reservation of a name lives exactly as long as the operation that holds it: the same request sent
again joins the running operation or gets its result; a different request for a taken name is
AlreadyExistsError.
"""

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.network import DnsConfig, PortMapping
from runtime.oci import ExecOutput
from runtime.spec import DeviceRequest, MountRequest, ProcessUser, Resources, Security


class SandboxState(enum.StrEnum):
    """CREATING is never shown to clients."""

    CREATING = "creating"
    READY = "ready"
    NOTREADY = "notready"


class ContainerState(enum.StrEnum):
    """What CRI shows of a container, derived from its task."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxMetadata:
    """What makes a sandbox unique among the pods of a node."""

    name: str
    uid: str
    namespace: str
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """CRI PodSandboxConfig. `dns` is None when the request has none (the host's file is used)."""

    metadata: SandboxMetadata
    hostname: str = ""
    log_directory: str = ""
    dns: DnsConfig | None = None
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    security: Security = field(default_factory=Security)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    overhead: Resources = field(default_factory=Resources)
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A sandbox's record. Times are Unix nanoseconds; `holder` is the shared PID namespace's.

    `overhead` and `resources` are None until they differ from the configuration's.
    """

    namespace: str
    id: str
    config: SandboxConfig
    handler: str
    state: SandboxState
    created_at: int
    addresses: tuple[str, ...] = ()
    cgroup: str = ""
    boot_id: str = ""
    stopped_at: int = 0
    reason: str = ""
    holder_pid: int = 0
    holder_started: int = 0
    overhead: Resources | None = None
    resources: Resources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMetadata:
    """What makes a container unique in its sandbox."""

    name: str
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """CRI ImageSpec as a container's config carries it."""

    image: str
    user_specified: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """CRI ContainerConfig. `log_path` is relative to the sandbox's log directory."""

    metadata: ContainerMetadata
    image: ImageRequest
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, bytes], ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    devices: tuple[DeviceRequest, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = field(default_factory=Resources)
    security: Security = field(default_factory=Security)
    stop_signal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContainer:
    """What CRI keeps of a container beside its metadata and task.

    `damage` says why the rest is not what it was, where a record could not be read.
    """

    sandbox_id: str
    config: ContainerConfig
    image_id: str
    image_ref: str
    image_name: str
    log_path: str
    stop_signal: str
    user: ProcessUser
    resources: Resources
    mount_image_refs: Mapping[str, str] = field(default_factory=dict)
    damage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """Everything CRI tells about one container, ready to convert. Times in Unix nanoseconds."""

    id: str
    container: PodContainer
    state: ContainerState
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which sandboxes or containers to list; empty fields match all, set ones are ANDed.

    `id` and `sandbox_id` match as prefixes.
    """

    id: str = ""
    state: str = ""
    sandbox_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class EventKind(enum.StrEnum):
    """What has happened to a sandbox or container."""

    CREATED = "created"
    STARTED = "started"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEvent:
    """Something that happened at `at` (Unix ns) to the sandbox or container `id`.

    `sandbox` and `containers` are the whole pod right after that; of a pod that was deleted, its
    last record.
    """

    kind: EventKind
    id: str
    at: int
    sandbox: Sandbox
    containers: tuple[ContainerStatus, ...] = ()


class PodEvents(Protocol):
    """What happens, as it happens."""

    def listen(self, namespace: str) -> AsyncIterator[PodEvent]:
        """Yield every event from now on; bounded.

        A listener that falls too far behind gets what was kept for it, then a
        ResourceExhaustedError. The iteration ends when the daemon does.
        """
        ...


class Sandboxes(Protocol):
    """The life of sandboxes."""

    async def run(self, namespace: str, config: SandboxConfig, handler: str) -> str:
        """Return the id of a READY sandbox, or undo every step and raise."""
        ...

    async def stop(self, namespace: str, id_: str) -> None:
        """Stop its containers and release its network; idempotent, unknown ids are no error."""
        ...

    async def remove(self, namespace: str, id_: str) -> None:
        """Stop and remove all of it; idempotent, unknown ids are no error."""
        ...

    async def resize(
        self, namespace: str, id_: str, *, overhead: Resources | None, resources: Resources | None
    ) -> None:
        """Take note of new limits for the pod as a whole; None leaves one as it is.

        The client owns the pod's cgroup and writes them there once this has agreed.

        Raises:
            FailedPreconditionError: the sandbox is not READY, or uses more memory than it may.
        """
        ...

    def get(self, namespace: str, id_: str) -> Sandbox:
        """Return the sandbox by id or unique prefix, or raise NotFoundError."""
        ...

    def list(self, namespace: str, filter_: Filter) -> list[Sandbox]:
        """Return the sandboxes that match, in the order they were made."""
        ...


class Containers(Protocol):
    """The life of pods' containers."""

    async def create(self, namespace: str, sandbox_id: str, config: ContainerConfig) -> str:
        """Return the id of a CREATED container; everything that can be refused is refused here."""
        ...

    async def start(self, namespace: str, id_: str) -> None:
        """Run a CREATED container; FailedPreconditionError in any other state."""
        ...

    async def stop(self, namespace: str, id_: str, grace: float) -> None:
        """Stop within `grace` seconds, by its stop signal, then by force; idempotent."""
        ...

    async def remove(self, namespace: str, id_: str) -> None:
        """Force it away, but for its log; idempotent."""
        ...

    async def exec_sync(
        self, namespace: str, id_: str, argv: tuple[str, ...], timeout: float
    ) -> ExecOutput:
        """Run a program in a RUNNING container; see `OciRuntime.exec`."""
        ...

    async def update(self, namespace: str, id_: str, resources: Resources) -> None:
        """Change limits, all or none; the status then reports them."""
        ...

    async def reopen_log(self, namespace: str, id_: str) -> None:
        """Return when a new log file is in use."""
        ...

    def get(self, namespace: str, id_: str) -> ContainerStatus:
        """Return the status by id or unique prefix, or raise NotFoundError."""
        ...

    def list(self, namespace: str, filter_: Filter) -> list[ContainerStatus]:
        """Return the containers that match, in the order they were made."""
        ...
