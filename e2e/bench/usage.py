"""What it takes to tell what pods use: statistics and metrics of crowds of several sizes (B6)."""

import asyncio
from typing import TYPE_CHECKING, Final

from grpc.aio import AioRpcError

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.bench.results import Metric, Results
from e2e.bench.subject import timed
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
