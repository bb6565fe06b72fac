"""Statistics of containers and pods, read when somebody asks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from google.protobuf.message import Message

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.stats import (
    container_stats_filter_from,
    container_stats_to,
    sandbox_stats_filter_from,
    sandbox_stats_to,
)
from cri.services.serialised import Chunk, check_size
from cri.services.validation import check
from runtime.pods import Containers, Filter, Sandboxes, SandboxState
from runtime.stats import Statistics
from store.errors import NotFoundError

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_AT_ONCE: Final = 16
"""Messages that are made before the loop sees to others: some hundred microseconds."""


async def made(items: Iterable[T], make: Callable[[T], M]) -> AsyncIterator[M]:
    """Yield the message of each item, and let others run now and then."""
    for number, item in enumerate(items, 1):
        yield make(item)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def chunked(messages: AsyncIterator[M]) -> AsyncIterator[list[M]]:
    """Yield messages in lists that fit into one answer of a stream, at least one in each."""
    chunk: Chunk[M] = Chunk()
    async for message in messages:
        if full := chunk.add(message, message.ByteSize()):
            yield full
    if chunk.held:
        yield chunk.held


class StatsCalls(api_pb2_grpc.RuntimeServiceServicer):
    """ContainerStats to StreamPodSandboxStats."""

    _namespace: str
    _sandboxes: Sandboxes
    _containers: Containers
    _statistics: Statistics

    async def ContainerStats(
        self, request: pb.ContainerStatsRequest, context: object
    ) -> pb.ContainerStatsResponse:
        """Tell what one container uses."""
        check(request)
        id_ = self._containers.get(self._namespace, request.container_id).id
        found = await self._statistics.containers(self._namespace, Filter(id=id_))
        if not found:
            raise NotFoundError(f"cannot find container {id_}: it was removed meanwhile")
        return pb.ContainerStatsResponse(
            stats=container_stats_to(found[0], self._statistics.mountpoint)
        )

    async def ListContainerStats(
        self, request: pb.ListContainerStatsRequest, context: object
    ) -> pb.ListContainerStatsResponse:
        """Tell what containers use; ended ones only take space."""
        check(request)
        messages = await self._container_stats(request.filter)
        answer = pb.ListContainerStatsResponse(stats=[message async for message in messages])
        check_size(answer.ByteSize(), "StreamContainerStats")
        return answer

    async def StreamContainerStats(
        self, request: pb.StreamContainerStatsRequest, context: object
    ) -> AsyncIterator[pb.StreamContainerStatsResponse]:
        """Tell the same in chunks."""
        check(request)
        async for chunk in chunked(await self._container_stats(request.filter)):
            yield pb.StreamContainerStatsResponse(container_stats=chunk)

    async def PodSandboxStats(
        self, request: pb.PodSandboxStatsRequest, context: object
    ) -> pb.PodSandboxStatsResponse:
        """Tell what one pod uses."""
        check(request)
        id_ = self._sandboxes.get(self._namespace, request.pod_sandbox_id).id
        found = await self._statistics.sandboxes(self._namespace, Filter(id=id_))
        if not found:
            raise NotFoundError(f"cannot find sandbox {id_}: it was removed meanwhile")
        return pb.PodSandboxStatsResponse(
            stats=sandbox_stats_to(found[0], self._statistics.mountpoint)
        )

    async def ListPodSandboxStats(
        self, request: pb.ListPodSandboxStatsRequest, context: object
    ) -> pb.ListPodSandboxStatsResponse:
        """Tell what pods use that are ready."""
        check(request)
        messages = await self._sandbox_stats(request.filter)
        answer = pb.ListPodSandboxStatsResponse(stats=[message async for message in messages])
        check_size(answer.ByteSize(), "StreamPodSandboxStats")
        return answer

    async def StreamPodSandboxStats(
        self, request: pb.StreamPodSandboxStatsRequest, context: object
    ) -> AsyncIterator[pb.StreamPodSandboxStatsResponse]:
        """Tell the same in chunks."""
        check(request)
        async for chunk in chunked(await self._sandbox_stats(request.filter)):
            yield pb.StreamPodSandboxStatsResponse(pod_sandbox_stats=chunk)

    async def _container_stats(
        self, message: pb.ContainerStatsFilter
    ) -> AsyncIterator[pb.ContainerStats]:
        wanted = container_stats_filter_from(message)
        found = await self._statistics.containers(self._namespace, wanted)
        return made(found, partial(container_stats_to, mountpoint=self._statistics.mountpoint))

    async def _sandbox_stats(
        self, message: pb.PodSandboxStatsFilter
    ) -> AsyncIterator[pb.PodSandboxStats]:
        wanted = replace(sandbox_stats_filter_from(message), state=SandboxState.READY.value)
        found = await self._statistics.sandboxes(self._namespace, wanted)
        return made(found, partial(sandbox_stats_to, mountpoint=self._statistics.mountpoint))
