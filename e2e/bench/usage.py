"""What it takes to tell what there is and what it uses, in crowds of several sizes (B6)."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

from grpc.aio import AioRpcError

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.bench.pods import WARM_UPS
from e2e.bench.results import Metric, Results, Unit
from e2e.bench.subject import Subject, cpu_seconds, timed
from e2e.client import Client

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from grpc import aio

SIZES: Final = (10, 40, 100, 1000)
"""Numbers of containers."""

_SAMPLES: Final = 10
# Long enough that nobody answers with the reading before.
_APART: Final = 0.7


async def usage(client: Client, results: Results, subject: str, containers: int) -> None:
    """Ask for everything, each time anew, taken as bytes: the client's parsing is no daemon's."""
    requests: dict[str, Message] = {
        "ListContainerStats": pb.ListContainerStatsRequest(),
        "ListPodSandboxStats": pb.ListPodSandboxStatsRequest(),
        "ListPodSandboxMetrics": pb.ListPodSandboxMetricsRequest(),
    }
    for name, request in requests.items():
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{name}"
        )
        metric = Metric("B6 usage", f"{name}, {containers} containers")
        data, times = request.SerializeToString(), list[float]()
        try:
            for _ in range(1 + _SAMPLES):
                await timed(call(data), times)
                await asyncio.sleep(_APART)
        except AioRpcError as error:
            results.skipped[f"{metric.name} of {subject}"] = error.details() or error.code().name
            continue
        results.add(metric, subject, *times[1:])


async def lists(
    client: Client, results: Results, subject: str, containers: int, samples: int = 30
) -> None:
    """Ask what a kubelet asks each second, taken as bytes."""
    requests = {
        "ListContainers": pb.ListContainersRequest(),
        "ListPodSandbox": pb.ListPodSandboxRequest(),
        "ListContainers of none": pb.ListContainersRequest(
            filter=pb.ContainerFilter(label_selector={"no": "such"})
        ),
    }
    for name, request in requests.items():
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{name.partition(' ')[0]}"
        )
        data, times = request.SerializeToString(), list[float]()
        for _ in range(WARM_UPS + samples):
            await timed(call(data), times)
        metric = Metric("B6 relist", f"{name}, {containers} containers")
        results.add(metric, subject, *times[WARM_UPS:])


async def relist(
    subject: Subject, client: Client, results: Results, case: str, seconds: float
) -> None:
    """B5: what the daemon uses while a kubelet lists once a second."""
    before, began = cpu_seconds(subject.service.pid), time.perf_counter()
    while time.perf_counter() - began < seconds:
        await client.list()
        await client.list_pods()
        await asyncio.sleep(1)
    used = cpu_seconds(subject.service.pid) - before
    share = 100 * used / (time.perf_counter() - began)
    results.add(Metric(case, "processor, 1 relist/s", Unit.PERCENT), subject.name, share)
