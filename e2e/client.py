"""A CRI client that asks as a kubelet does."""

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc as rpc

# What a kubelet allows and what a server must therefore take.
_LIMIT: Final = 16 << 20
MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

RUNTIME_DEFAULT: Final = pb.SecurityProfile(
    profile_type=pb.SecurityProfile.ProfileType.Value("RuntimeDefault")
)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What a test says of a pod; the rest is as a kubelet would have it.

    `users` are the first id on the node and the number of ids of a user namespace of the pod's own.
    """

    name: str
    logs: Path
    uid: str = field(default_factory=lambda: f"{os.getpid()}-{next(_numbers)}")
    attempt: int = 0
    hostname: str = ""
    network: str = "POD"
    pid: str = "CONTAINER"
    ipc: str = "POD"
    users: tuple[int, int] | None = None
    ports: Sequence[tuple[int, int]] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def log_directory(self) -> Path:
        """Where the kubelet wants the logs; the runtime may find it missing."""
        return self.logs / f"e2e_{self.name}_{self.uid}"

    def namespaces(self) -> pb.NamespaceOption:
        """Return the namespace modes of the pod and its containers."""
        mode = pb.NamespaceMode.Value
        return pb.NamespaceOption(
            network=mode(self.network),
            pid=mode(self.pid),
            ipc=mode(self.ipc),
            userns_options=self.user_namespace(),
        )

    def user_namespace(self) -> pb.UserNamespace:
        """Return whose users the pod has."""
        if self.users is None:
            return pb.UserNamespace(mode=pb.NamespaceMode.Value("NODE"))
        return pb.UserNamespace(
            mode=pb.NamespaceMode.Value("POD"), uids=self.mappings(), gids=self.mappings()
        )

    def mappings(self) -> list[pb.IDMapping]:
        """Return what a kubelet sends with each mount of the pod."""
        if self.users is None:
            return []
        first, length = self.users
        return [pb.IDMapping(container_id=0, host_id=first, length=length)]

    def config(self) -> pb.PodSandboxConfig:
        """Return the sandbox's configuration."""
        return pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(
                name=self.name, uid=self.uid, namespace="e2e", attempt=self.attempt
            ),
            hostname="" if self.network == "NODE" else self.hostname or self.name,
            log_directory=str(self.log_directory),
            dns_config=pb.DNSConfig(
                servers=["10.96.0.10"], searches=["e2e.svc.cluster.local"], options=["ndots:5"]
            ),
            port_mappings=[
                pb.PortMapping(container_port=inside, host_port=outside)
                for outside, inside in self.ports
            ],
            labels={
                "io.kubernetes.pod.name": self.name,
                "io.kubernetes.pod.namespace": "e2e",
                "io.kubernetes.pod.uid": self.uid,
                **self.labels,
            },
            annotations={"kubernetes.io/config.source": "api", **self.annotations},
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=self.cgroup_parent,
                sysctls=self.sysctls,
                security_context=pb.LinuxSandboxSecurityContext(
                    namespace_options=self.namespaces(), seccomp=RUNTIME_DEFAULT
                ),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a test says of a container; `change` has the last word over the configuration."""

    name: str
    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    mounts: Sequence[pb.Mount] = ()
    memory: int = 128 << 20

    def config(self, pod: Pod) -> pb.ContainerConfig:
        """Return the container's configuration in `pod`."""
        return pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=self.name, attempt=self.attempt),
            image=pb.ImageSpec(image=self.image, user_specified_image=self.image),
            command=self.command,
            args=self.args,
            envs=[pb.KeyValue(key=key, value=value.encode()) for key, value in self.env.items()],
            mounts=self.mounts,
            labels={
                "io.kubernetes.container.name": self.name,
                "io.kubernetes.pod.name": pod.name,
                "io.kubernetes.pod.namespace": "e2e",
                "io.kubernetes.pod.uid": pod.uid,
            },
            annotations={
                "io.kubernetes.container.hash": "5d7c2ab1",
                "io.kubernetes.container.restartCount": str(self.attempt),
                "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
                "io.kubernetes.container.terminationMessagePolicy": "File",
                "io.kubernetes.pod.terminationGracePeriod": "30",
            },
            log_path=f"{self.name}/{self.attempt}.log",
            linux=pb.LinuxContainerConfig(
                resources=pb.LinuxContainerResources(
                    cpu_period=100000,
                    cpu_shares=102,
                    memory_limit_in_bytes=self.memory,
                    oom_score_adj=1000,
                ),
                security_context=pb.LinuxContainerSecurityContext(
                    namespace_options=pod.namespaces(),
                    masked_paths=MASKED,
                    readonly_paths=READONLY,
                    seccomp=RUNTIME_DEFAULT,
                ),
            ),
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox and what it was made from."""

    id: str
    pod: Pod
    config: pb.PodSandboxConfig


class Client:
    """The two services, and what tests do with them over and over."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.runtime = rpc.RuntimeServiceStub(channel)
        self.images = rpc.ImageServiceStub(channel)

    # --- images

    async def pull(self, image: str, auth: pb.AuthConfig | None = None) -> str:
        """Pull `image`; return its id."""
        request = pb.PullImageRequest(image=pb.ImageSpec(image=image), auth=auth)
        return (await self.images.PullImage(request)).image_ref

    async def image(self, image: str) -> pb.Image | None:
        """Return what is known of `image`, or None."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image))
        status = await self.images.ImageStatus(request)
        return status.image if status.HasField("image") else None

    async def list_images(self) -> Sequence[pb.Image]:
        """Return every image."""
        return (await self.images.ListImages(pb.ListImagesRequest())).images

    async def remove_image(self, image: str) -> None:
        """Remove an image under all of its names."""
        await self.images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image=image)))

    # --- pods

    async def run_pod(
        self, pod: Pod, handler: str = "", config: pb.PodSandboxConfig | None = None
    ) -> Running:
        """Run a sandbox, after making its log directory as a kubelet does."""
        config = config or pod.config()
        await asyncio.to_thread(pod.log_directory.mkdir, parents=True, exist_ok=True)
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return Running((await self.runtime.RunPodSandbox(request)).pod_sandbox_id, pod, config)

    async def stop_pod(self, sandbox: str) -> None:
        """Stop a sandbox."""
        await self.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=sandbox))

    async def remove_pod(self, sandbox: str) -> None:
        """Remove a sandbox."""
        await self.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox))

    async def pod_status(self, sandbox: str) -> pb.PodSandboxStatus:
        """Return a sandbox's status."""
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
        return (await self.runtime.PodSandboxStatus(request)).status

    async def list_pods(
        self, filter_: pb.PodSandboxFilter | None = None
    ) -> Sequence[pb.PodSandbox]:
        """Return the sandboxes that match."""
        request = pb.ListPodSandboxRequest(filter=filter_)
        return (await self.runtime.ListPodSandbox(request)).items

    @contextlib.asynccontextmanager
    async def pod(self, pod: Pod, handler: str = "") -> AsyncIterator[Running]:
        """Run a sandbox for the block; stop and remove it after."""
        running = await self.run_pod(pod, handler)
        try:
            yield running
        finally:
            await self.stop_pod(running.id)
            await self.remove_pod(running.id)

    # --- containers

    async def create(
        self, running: Running, container: Container, config: pb.ContainerConfig | None = None
    ) -> str:
        """Create a container, after making its log folder as a kubelet does; return its id."""
        folder = running.pod.log_directory / container.name
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        request = pb.CreateContainerRequest(
            pod_sandbox_id=running.id,
            config=config or container.config(running.pod),
            sandbox_config=running.config,
        )
        return (await self.runtime.CreateContainer(request)).container_id

    async def start(self, container: str) -> None:
        """Start a container."""
        await self.runtime.StartContainer(pb.StartContainerRequest(container_id=container))

    async def run(
        self, running: Running, container: Container, config: pb.ContainerConfig | None = None
    ) -> str:
        """Create and start a container; return its id."""
        identifier = await self.create(running, container, config)
        await self.start(identifier)
        return identifier

    async def stop(self, container: str, timeout: int = 0) -> None:
        """Stop a container within `timeout` seconds."""
        request = pb.StopContainerRequest(container_id=container, timeout=timeout)
        await self.runtime.StopContainer(request)

    async def remove(self, container: str) -> None:
        """Remove a container."""
        await self.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=container))

    async def verbose(self, container: str) -> pb.ContainerStatusResponse:
        """Return a container's status with what the runtime adds."""
        request = pb.ContainerStatusRequest(container_id=container, verbose=True)
        return await self.runtime.ContainerStatus(request)

    async def status(self, container: str) -> pb.ContainerStatus:
        """Return a container's status."""
        request = pb.ContainerStatusRequest(container_id=container)
        return (await self.runtime.ContainerStatus(request)).status

    async def pid(self, container: str) -> int:
        """Return the process id of a container's first process, on the node."""
        information = json.loads((await self.verbose(container)).info["info"])
        return int(information["pid"])

    async def list(self, filter_: pb.ContainerFilter | None = None) -> Sequence[pb.Container]:
        """Return the containers that match."""
        request = pb.ListContainersRequest(filter=filter_)
        return (await self.runtime.ListContainers(request)).containers

    async def exited(self, container: str, seconds: float = 20) -> pb.ContainerStatus:
        """Return the status once the container has ended."""
        deadline = time.monotonic() + seconds
        while True:
            status = await self.status(container)
            if status.state == pb.ContainerState.Value("CONTAINER_EXITED"):
                return status
            assert time.monotonic() < deadline, f"still {status.state} after {seconds} s: {status}"
            await asyncio.sleep(0.02)  # as a kubelet, which relists

    async def exec(self, container: str, *argv: str, timeout: int = 20) -> tuple[int, bytes, bytes]:
        """Run a program; return its exit code, output and errors."""
        request = pb.ExecSyncRequest(container_id=container, cmd=argv, timeout=timeout)
        response = await self.runtime.ExecSync(request)
        return response.exit_code, response.stdout, response.stderr

    async def output(self, container: str, *argv: str) -> str:
        """Run a program that must succeed; return its output without the last line's end."""
        code, output, errors = await self.exec(container, *argv)
        assert code == 0, f"{argv} failed with {code}: {errors.decode()}"
        return output.decode().rstrip("\n")


@contextlib.asynccontextmanager
async def connected(address: Path) -> AsyncIterator[Client]:
    """Talk to the daemon at `address` for the block."""
    options = [
        ("grpc.max_receive_message_length", _LIMIT),
        ("grpc.default_authority", "localhost"),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
    ]
    async with aio.insecure_channel(f"unix:{address}", options=options) as channel:
        yield Client(channel)


def code(error: BaseException) -> grpc.StatusCode:
    """Return the status of a failed call."""
    assert isinstance(error, aio.AioRpcError), f"no failed call: {error!r}"
    return error.code()


def log_lines(path: Path) -> list[tuple[str, str, str]]:
    """Return stream, tag and text of each line of a CRI log."""
    if not path.exists():
        return []
    entries = [line.split(" ", 3) for line in path.read_text().splitlines()]
    return [(stream, tag, text) for _, stream, tag, text in entries]


def log_text(path: Path) -> str:
    """Return what was written: an entry tagged P is continued by the next."""
    return "".join(text if tag.startswith("P") else f"{text}\n" for _, tag, text in log_lines(path))


async def get(address: str, port: int, path: str = "/", seconds: float = 10) -> str:
    """Fetch a page, once the server is there; returns its body."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            response = await reader.read()
            writer.close()
            await writer.wait_closed()
            return response.partition(b"\r\n\r\n")[2].decode()


async def eventually_logged(pod: Pod, container: str, line: str, seconds: float = 15) -> None:
    """Return once the container has logged `line` in full."""
    path = pod.log_directory / container / "0.log"
    async with asyncio.timeout(seconds):
        while line not in [text for _, _, text in log_lines(path)]:
            await asyncio.sleep(0.02)
