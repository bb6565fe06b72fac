"""What the kubelet shows at /metrics/cadvisor."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.metrics import (
    Surroundings,
    container_metrics_to,
    descriptors,
    pod_metrics_to,
)
from cri.services.serialised import check_size
from cri.services.stats import chunked
from cri.services.validation import check
from runtime.pods import Filter, SandboxState
from runtime.stats import Statistics

_READY: Final = Filter(state=SandboxState.READY.value)


class MetricCalls(api_pb2_grpc.RuntimeServiceServicer):
    """ListMetricDescriptors, ListPodSandboxMetrics, StreamPodSandboxMetrics."""

    _namespace: str
    _statistics: Statistics

    async def ListMetricDescriptors(
        self, request: pb.ListMetricDescriptorsRequest, context: object
    ) -> pb.ListMetricDescriptorsResponse:
        """Describe every metric there may be; the kubelet asks once."""
        check(request)
        return pb.ListMetricDescriptorsResponse(descriptors=descriptors())

    async def ListPodSandboxMetrics(
        self, request: pb.ListPodSandboxMetricsRequest, context: object
    ) -> pb.ListPodSandboxMetricsResponse:
        """Tell the metrics of pods that are ready."""
        check(request)
        answer = pb.ListPodSandboxMetricsResponse()
        async for pod in self._pod_metrics():
            answer.pod_metrics.append(pod)
        check_size(answer.ByteSize(), "StreamPodSandboxMetrics")
        return answer

    async def StreamPodSandboxMetrics(
        self, request: pb.StreamPodSandboxMetricsRequest, context: object
    ) -> AsyncIterator[pb.StreamPodSandboxMetricsResponse]:
        """Tell the same in chunks."""
        check(request)
        async for chunk in chunked(self._pod_metrics()):
            yield pb.StreamPodSandboxMetricsResponse(pod_sandbox_metrics=chunk)

    async def _pod_metrics(self) -> AsyncIterator[pb.PodSandboxMetrics]:
        around = Surroundings(
            filesystem=await self._statistics.filesystem(),
            device=self._statistics.device,
            cgroup=self._statistics.cgroup,
        )
        async for details in self._statistics.details(self._namespace, _READY):
            pod = details.stats.sandbox
            message = pod_metrics_to(details.stats, around)
            for one in details.containers:
                if one.stats.sample is not None:
                    message.container_metrics.append(container_metrics_to(one, pod, around))
                await asyncio.sleep(0)  # others come first: each has some 60 metrics
            yield message
