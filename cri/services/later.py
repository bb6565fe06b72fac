"""RPCs that this version of ferry does not have; clients fall back on UNIMPLEMENTED.

They are written out so that the type checker tells when CRI gets a new one.
"""

from collections.abc import AsyncIterator
from typing import Generic, NoReturn, Self, TypeVar

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from store.errors import UnimplementedError

T = TypeVar("T")


def _refuse(rpc: str, instead: str) -> NoReturn:
    raise UnimplementedError(f"cannot serve {rpc}: ferry does not have it yet; {instead}")


class _Refusal(AsyncIterator[T], Generic[T]):
    """A stream that ends with an error before its first message."""

    def __init__(self, rpc: str, instead: str) -> None:
        self._rpc = rpc
        self._instead = instead

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        _refuse(self._rpc, self._instead)


_STREAMING = "ExecSync runs programs without a terminal"
_STATS = "the kubelet reads cgroups by itself"
_EVENTS = "the kubelet lists instead"
_CHECKPOINT = "no handler can checkpoint"


class LaterCalls(api_pb2_grpc.RuntimeServiceServicer):
    """Streaming sessions, statistics, events, checkpoints, pod resources."""

    async def Exec(self, request: pb.ExecRequest, context: object) -> pb.ExecResponse:
        """Refuse."""
        _refuse("Exec", _STREAMING)

    async def Attach(self, request: pb.AttachRequest, context: object) -> pb.AttachResponse:
        """Refuse."""
        _refuse("Attach", _STREAMING)

    async def PortForward(
        self, request: pb.PortForwardRequest, context: object
    ) -> pb.PortForwardResponse:
        """Refuse."""
        _refuse("PortForward", "pods are reachable by their addresses")

    async def ContainerStats(
        self, request: pb.ContainerStatsRequest, context: object
    ) -> pb.ContainerStatsResponse:
        """Refuse."""
        _refuse("ContainerStats", _STATS)

    async def ListContainerStats(
        self, request: pb.ListContainerStatsRequest, context: object
    ) -> pb.ListContainerStatsResponse:
        """Refuse."""
        _refuse("ListContainerStats", _STATS)

    def StreamContainerStats(
        self, request: pb.StreamContainerStatsRequest, context: object
    ) -> AsyncIterator[pb.StreamContainerStatsResponse]:
        """Refuse."""
        return _Refusal("StreamContainerStats", _STATS)

    async def PodSandboxStats(
        self, request: pb.PodSandboxStatsRequest, context: object
    ) -> pb.PodSandboxStatsResponse:
        """Refuse."""
        _refuse("PodSandboxStats", _STATS)

    async def ListPodSandboxStats(
        self, request: pb.ListPodSandboxStatsRequest, context: object
    ) -> pb.ListPodSandboxStatsResponse:
        """Refuse."""
        _refuse("ListPodSandboxStats", _STATS)

    def StreamPodSandboxStats(
        self, request: pb.StreamPodSandboxStatsRequest, context: object
    ) -> AsyncIterator[pb.StreamPodSandboxStatsResponse]:
        """Refuse."""
        return _Refusal("StreamPodSandboxStats", _STATS)

    async def ListMetricDescriptors(
        self, request: pb.ListMetricDescriptorsRequest, context: object
    ) -> pb.ListMetricDescriptorsResponse:
        """Refuse."""
        _refuse("ListMetricDescriptors", _STATS)

    async def ListPodSandboxMetrics(
        self, request: pb.ListPodSandboxMetricsRequest, context: object
    ) -> pb.ListPodSandboxMetricsResponse:
        """Refuse."""
        _refuse("ListPodSandboxMetrics", _STATS)

    def StreamPodSandboxMetrics(
        self, request: pb.StreamPodSandboxMetricsRequest, context: object
    ) -> AsyncIterator[pb.StreamPodSandboxMetricsResponse]:
        """Refuse."""
        return _Refusal("StreamPodSandboxMetrics", _STATS)

    def GetContainerEvents(
        self, request: pb.GetEventsRequest, context: object
    ) -> AsyncIterator[pb.ContainerEventResponse]:
        """Refuse."""
        return _Refusal("GetContainerEvents", _EVENTS)

    async def CheckpointContainer(
        self, request: pb.CheckpointContainerRequest, context: object
    ) -> pb.CheckpointContainerResponse:
        """Refuse."""
        _refuse("CheckpointContainer", _CHECKPOINT)

    async def CheckpointPod(
        self, request: pb.CheckpointPodRequest, context: object
    ) -> pb.CheckpointPodResponse:
        """Refuse."""
        _refuse("CheckpointPod", _CHECKPOINT)

    async def RestorePod(
        self, request: pb.RestorePodRequest, context: object
    ) -> pb.RestorePodResponse:
        """Refuse."""
        _refuse("RestorePod", _CHECKPOINT)

    async def UpdatePodSandboxResources(
        self, request: pb.UpdatePodSandboxResourcesRequest, context: object
    ) -> pb.UpdatePodSandboxResourcesResponse:
        """Refuse."""
        _refuse("UpdatePodSandboxResources", "UpdateContainerResources changes each container")
