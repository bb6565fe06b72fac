import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from runtime.pods import EventKind
from tests.calling import eventually, run_container, run_pod
from tests.serving import Clients, Parts


@asynccontextmanager
async def listening(
    clients: Clients, parts: Parts, count: int
) -> AsyncIterator[list[AsyncIterator[pb.ContainerEventResponse]]]:
    """Hold `count` more streams than there are, which the service knows of."""
    broadcast = parts.sandboxes.events.broadcast
    already = len(broadcast)
    calls = [clients.runtime.GetContainerEvents(pb.GetEventsRequest()) for _ in range(count)]
    await eventually(lambda: len(broadcast) == already + count)
    yield [aiter(call) for call in calls]
    for call in calls:
        call.cancel()


async def take(
    events: AsyncIterator[pb.ContainerEventResponse], count: int
) -> list[pb.ContainerEventResponse]:
    async with asyncio.timeout(5):
        return [await anext(events) for _ in range(count)]


async def to_the_end(events: AsyncIterator[pb.ContainerEventResponse]) -> tuple[int, StatusCode]:
    """Return how many events there were, and how the stream ended."""
    heard = 0
    try:
        async with asyncio.timeout(20):
            async for _ in events:
                heard += 1
    except grpc.aio.AioRpcError as error:
        return heard, error.code()
    return heard, StatusCode.OK


async def test_every_listener_hears_a_pods_life(clients: Clients, parts: Parts) -> None:
    async with listening(clients, parts, 3) as listeners:
        pod = await run_pod(clients)
        container = await run_container(clients, pod)
        for events in listeners:
            heard = await take(events, 4)
            assert [(one.container_id, one.container_event_type) for one in heard] == [
                (pod, pb.CONTAINER_CREATED_EVENT),
                (pod, pb.CONTAINER_STARTED_EVENT),
                (container, pb.CONTAINER_CREATED_EVENT),
                (container, pb.CONTAINER_STARTED_EVENT),
            ]
            assert heard[3].pod_sandbox_status.metadata.uid == "uid-pod"
            assert [one.state for one in heard[3].containers_statuses] == [pb.CONTAINER_RUNNING]


async def test_a_listener_that_falls_behind_is_told_and_others_go_on(
    clients: Clients, parts: Parts
) -> None:
    async with listening(clients, parts, 1) as (quick,):
        parts.sandboxes.events.backlog = 0
        async with listening(clients, parts, 1) as (slow,):
            pod = await run_pod(clients)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await take(slow, 1)
        assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert "list again" in (raised.value.details() or "")
        assert [one.container_id for one in await take(quick, 2)] == [pod, pod]


async def test_a_client_that_never_reads_costs_no_more_than_its_backlog(
    clients: Clients, parts: Parts
) -> None:
    parts.sandboxes.events.backlog = 50
    pod = await run_pod(clients)
    sandbox = parts.sandboxes.get("k8s.io", pod)
    async with listening(clients, parts, 1) as (events,):
        for _ in range(10_000):
            parts.sandboxes.tell(sandbox, pod, EventKind.STARTED)
            await asyncio.sleep(0)
        heard, code = await to_the_end(events)
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert 50 <= heard < 10_000


async def test_the_end_of_the_daemon_ends_the_stream(clients: Clients, parts: Parts) -> None:
    async with listening(clients, parts, 1) as (events,):
        pod = await run_pod(clients)
        parts.sandboxes.events.broadcast.close()
        async with asyncio.timeout(5):
            assert [one.container_id async for one in events] == [pod, pod]


async def test_listeners_that_go_leave_nothing(clients: Clients, parts: Parts) -> None:
    async with listening(clients, parts, 20):
        running = parts.operations.list()
        assert [one.kind for one in running] == ["GetContainerEvents"] * 20
        assert all(one.endless for one in running)
    await eventually(lambda: not parts.operations.list())
    assert len(parts.sandboxes.events.broadcast) == 0
