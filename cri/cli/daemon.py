"""The daemon as commands see it: its answers as messages, its errors as ours."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc import StatusCode

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.cli.reach import obstacle, unreachable
from cri.errors import error_class
from runtime.doctor import Finding, Grade
from runtime.io import Wanted
from store.errors import DeadlineExceededError, Error, NotFoundError, UnimplementedError

Request_contra = TypeVar("Request_contra", bound=Message, contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)

_MESSAGE_LIMIT: Final = 64 << 20
# Lists and statuses are answered from memory.
_QUICK: Final = 10.0
# Pods and containers come and go within this, or the daemon says at which stage they hang.
_SLOW: Final = 240.0
# A daemon that is being restarted comes back within this.
_RESTART: Final = 60.0
# What a call ends with when nobody took it, and also when somebody did.
_UNREACHED: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED})
_GRADES: Final = {
    node_pb2.Finding.OK: Grade.OK,
    node_pb2.Finding.LIMITED: Grade.LIMITED,
    node_pb2.Finding.BROKEN: Grade.BROKEN,
}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _Method(Protocol[Request_contra, Response_co]):
    def __call__(
        self,
        request: Request_contra,
        *,
        timeout: float | None = None,
        wait_for_ready: bool | None = None,
    ) -> Awaitable[Response_co]: ...


class Daemon:
    """A connection to the daemon. Every method raises `store.errors` with the daemon's words."""

    def __init__(self, path: str, channel: grpc.aio.Channel) -> None:
        self._path = path
        self._runtime = api_pb2_grpc.RuntimeServiceStub(channel)
        self._images = api_pb2_grpc.ImageServiceStub(channel)
        self._node = node_pb2_grpc.NodeStub(channel)

    def __repr__(self) -> str:
        return f"<Daemon at {self._path}>"

    # --- the node

    async def version(self) -> str:
        """Return the daemon's version."""
        answer = await self._ask(self._runtime.Version, pb.VersionRequest())
        return answer.runtime_version

    async def operations(self) -> node_pb2.OperationsResponse:
        """Return what the daemon is doing, but for answering this."""
        answer = await self._ask(self._node.Operations, node_pb2.OperationsRequest())
        others = [each for each in answer.operations if each.kind != "Operations"]
        return node_pb2.OperationsResponse(operations=others, stuck_calls=answer.stuck_calls)

    async def findings(self) -> list[Finding]:
        """Return what the node can and cannot do."""
        answer = await self._ask(self._node.Doctor, node_pb2.DoctorRequest())
        return [
            Finding(subject=each.subject, grade=_GRADES[each.grade], text=each.text, mend=each.mend)
            for each in answer.findings
        ]

    # --- images

    async def images(self) -> Sequence[pb.Image]:
        """Return every image."""
        return (await self._ask(self._images.ListImages, pb.ListImagesRequest())).images

    async def image(self, reference: str) -> pb.Image | None:
        """Return an image by name or id, or None."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=reference))
        answer = await self._ask(self._images.ImageStatus, request)
        return answer.image if answer.HasField("image") else None

    async def pull(
        self, reference: str, user: str = "", password: str = ""
    ) -> AsyncIterator[node_pb2.PullProgress]:
        """Pull an image; yield how far its parts are, and last its id."""
        request = node_pb2.PullRequest(reference=reference, username=user, password=password)
        try:
            async for progress in self._node.Pull(request):
                yield progress
        except grpc.aio.AioRpcError as error:
            raise self._translated(error, "Pull") from None

    async def remove_image(self, reference: str) -> None:
        """Remove an image with all of its names."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=reference))
        await self._ask(self._images.RemoveImage, request, _SLOW)

    # --- pods

    async def pods(self) -> Sequence[pb.PodSandbox]:
        """Return every pod."""
        return (await self._ask(self._runtime.ListPodSandbox, pb.ListPodSandboxRequest())).items

    async def addresses(self, pod: str) -> list[str]:
        """Return the IP addresses of a pod, the main one first; none if it is gone."""
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod)
        try:
            answer = await self._ask(self._runtime.PodSandboxStatus, request)
        except NotFoundError:
            return []
        network = answer.status.network
        return [ip for ip in (network.ip, *(each.ip for each in network.additional_ips)) if ip]

    async def run_pod(self, config: pb.PodSandboxConfig, handler: str) -> str:
        """Run a pod without containers; return its id."""
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return (await self._ask(self._runtime.RunPodSandbox, request, _SLOW)).pod_sandbox_id

    async def remove_pod(self, pod: str) -> None:
        """Stop and remove a pod with its containers; nothing if it is gone."""
        stop = pb.StopPodSandboxRequest(pod_sandbox_id=pod)
        await self._ask(self._runtime.StopPodSandbox, stop, _SLOW)
        remove = pb.RemovePodSandboxRequest(pod_sandbox_id=pod)
        await self._ask(self._runtime.RemovePodSandbox, remove, _SLOW)

    # --- containers

    async def containers(self) -> Sequence[pb.Container]:
        """Return every container."""
        request = pb.ListContainersRequest()
        return (await self._ask(self._runtime.ListContainers, request)).containers

    async def container(self, container: str) -> pb.ContainerStatus:
        """Return a container's status, over a restart of the daemon if need be."""
        request = pb.ContainerStatusRequest(container_id=container)
        method = self._runtime.ContainerStatus
        return (await self._ask(method, request, _RESTART, wait=True)).status

    async def create(
        self, pod: str, config: pb.ContainerConfig, sandbox: pb.PodSandboxConfig
    ) -> str:
        """Create a container; return its id."""
        request = pb.CreateContainerRequest(
            pod_sandbox_id=pod, config=config, sandbox_config=sandbox
        )
        return (await self._ask(self._runtime.CreateContainer, request, _SLOW)).container_id

    async def start(self, container: str) -> None:
        """Start a container."""
        request = pb.StartContainerRequest(container_id=container)
        await self._ask(self._runtime.StartContainer, request, _SLOW)

    async def stop(self, container: str, grace: int) -> None:
        """Ask a container to end, and end it after `grace` seconds."""
        request = pb.StopContainerRequest(container_id=container, timeout=grace)
        await self._ask(self._runtime.StopContainer, request, grace + _SLOW)

    async def execute(
        self, container: str, argv: Sequence[str], timeout: int
    ) -> pb.ExecSyncResponse:
        """Run a program in a container for at most `timeout` seconds; 0 is for ever."""
        request = pb.ExecSyncRequest(container_id=container, cmd=argv, timeout=timeout)
        return await self._ask(self._runtime.ExecSync, request, None)

    async def exec_url(self, container: str, argv: Sequence[str], wanted: Wanted) -> str:
        """Return where a program runs in a container for whoever comes first."""
        request = pb.ExecRequest(container_id=container, cmd=argv, **_streams(wanted))
        return (await self._ask(self._runtime.Exec, request)).url

    async def attach_url(self, container: str, wanted: Wanted) -> str:
        """Return where a container's own streams are joined."""
        request = pb.AttachRequest(container_id=container, **_streams(wanted))
        return (await self._ask(self._runtime.Attach, request)).url

    async def forward_url(self, pod: str, port: int) -> str:
        """Return where a port of a pod is reached."""
        request = pb.PortForwardRequest(pod_sandbox_id=pod, port=[port])
        return (await self._ask(self._runtime.PortForward, request)).url

    async def _ask(
        self,
        method: _Method[Request_contra, Response_co],
        request: Request_contra,
        timeout: float | None = _QUICK,
        *,
        wait: bool = False,
    ) -> Response_co:
        try:
            return await method(request, timeout=timeout, wait_for_ready=wait)
        except grpc.aio.AioRpcError as error:
            name = type(request).__name__.removesuffix("Request")
            raise self._translated(error, name) from None

    def _translated(self, error: grpc.aio.AioRpcError, method: str) -> Error:
        code, text = error.code(), error.details() or error.code().name
        if code is StatusCode.UNIMPLEMENTED:
            return UnimplementedError(
                f"cannot {method}: what serves {self._path} does not know it ({text}); is it"
                " ferryd, and of this version?"
            )
        if code in _UNREACHED and (why := obstacle(self._path)):
            return unreachable(self._path, why)
        if code is StatusCode.DEADLINE_EXCEEDED and not text.startswith("cannot"):
            return DeadlineExceededError(
                f"cannot get an answer to {method}: the daemon at {self._path} is silent;"
                " `systemctl kill -s USR1 ferryd` makes it log what it does"
            )
        return error_class(code)(text)


def _streams(wanted: Wanted) -> dict[str, bool]:
    return {
        "stdin": wanted.stdin,
        "stdout": wanted.stdout,
        "stderr": wanted.stderr,
        "tty": wanted.terminal,
    }


@asynccontextmanager
async def opened(path: str) -> AsyncIterator[Daemon]:
    """Connect to the daemon at an absolute path for the block."""
    async with grpc.aio.insecure_channel(f"unix:{path}", options=_OPTIONS) as channel:
        yield Daemon(path, channel)
