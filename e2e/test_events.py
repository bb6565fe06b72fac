"""What happens to pods, as it is told to whoever listens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import Service
from e2e.images import BUSYBOX

pytestmark = pytest.mark.root

Images = Mapping[str, str]
Events = AsyncIterator[pb.ContainerEventResponse]
Told = list[tuple[str, str]]

RUNNING = pb.ContainerState.Value("CONTAINER_RUNNING")
EXITED = pb.ContainerState.Value("CONTAINER_EXITED")


@asynccontextmanager
async def listening(client: Client, count: int = 1) -> AsyncIterator[list[Events]]:
    """Hold streams of events. Calls of one client are taken up in their order."""
    calls = [client.runtime.GetContainerEvents(pb.GetEventsRequest()) for _ in range(count)]
    await client.runtime.Version(pb.VersionRequest())
    yield [aiter(call) for call in calls]
    for call in calls:
        call.cancel()


async def take(events: Events, count: int) -> list[pb.ContainerEventResponse]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def to_the_end(events: Events) -> tuple[int, StatusCode]:
    """Return how many events there were, and how the stream ended."""
    held = 0
    try:
        async with asyncio.timeout(60):
            async for _ in events:
                held += 1
    except aio.AioRpcError as error:
        return held, error.code()
    return held, StatusCode.OK


def told(heard: list[pb.ContainerEventResponse], **names: str) -> Told:
    """Return the events as kind and name of what they are of."""
    by_id = {id_: name for name, id_ in names.items()}
    kinds = pb.ContainerEventType
    return [
        (
            kinds.Name(one.container_event_type).removeprefix("CONTAINER_").removesuffix("_EVENT"),
            by_id[one.container_id],
        )
        for one in heard
    ]


async def test_a_pods_life_is_told_to_everybody(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with listening(cri, 3) as listeners:
        began = time.time_ns()
        running = await cri.run_pod(Pod(name="life", logs=logs), handler)
        main = Container(name="main", image=images[BUSYBOX], command=["top", "-b", "-d", "3600"])
        container = await cri.run(running, main)
        await cri.stop(container)
        await cri.remove(container)
        await cri.stop_pod(running.id)
        await cri.remove_pod(running.id)
        for events in listeners:
            heard = await take(events, 8)
            assert told(heard, pod=running.id, main=container) == [
                ("CREATED", "pod"),
                ("STARTED", "pod"),
                ("CREATED", "main"),
                ("STARTED", "main"),
                ("STOPPED", "main"),
                ("DELETED", "main"),
                ("STOPPED", "pod"),
                ("DELETED", "pod"),
            ]
            times = [one.created_at for one in heard]
            assert times == sorted(times)
            assert began <= times[0] <= times[-1] <= time.time_ns()
            assert {one.pod_sandbox_status.metadata.uid for one in heard} == {running.pod.uid}
            started, stopped = heard[3], heard[4]
            assert [one.state for one in started.containers_statuses] == [RUNNING]
            (status,) = stopped.containers_statuses
            assert (status.state, status.exit_code, status.id) == (EXITED, 137, container)
            assert started.pod_sandbox_status.network.ip.startswith("10.")
            assert list(heard[5].containers_statuses) == []


async def test_an_end_by_itself_is_told_with_its_code(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="end", logs=logs), handler) as running, listening(cri) as (events,):
        stays = Container(name="stays", image=images[BUSYBOX], command=["sleep", "600"])
        other = await cri.run(running, stays)
        quick = Container(name="quick", image=images[BUSYBOX], command=["sh", "-c", "exit 7"])
        container = await cri.run(running, quick)
        heard = await take(events, 5)
        assert told(heard[2:], quick=container, stays=other) == [
            ("CREATED", "quick"),
            ("STARTED", "quick"),
            ("STOPPED", "quick"),
        ]
        states = {one.id: (one.state, one.exit_code) for one in heard[4].containers_statuses}
        assert states == {other: (RUNNING, 0), container: (EXITED, 7)}


async def test_a_container_that_cannot_run_is_told_of(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="bad", logs=logs)) as running, listening(cri) as (events,):
        missing = Container(name="main", image=images[BUSYBOX], command=["/no/such/program"])
        container = await cri.create(running, missing)
        heard = await take(events, 2)
        assert told(heard, main=container) == [("CREATED", "main"), ("STOPPED", "main")]
        (status,) = heard[1].containers_statuses
        assert (status.state, status.reason) == (EXITED, "ContainerCannotRun")


async def test_the_status_of_a_pod_has_those_of_its_containers(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="status", logs=logs)) as running:
        main = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        container = await cri.run(running, main)
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=running.id)
        answer = await cri.runtime.PodSandboxStatus(request)
        assert list(answer.containers_statuses) == [await cri.status(container)]
        assert abs(answer.timestamp - time.time_ns()) < 30 * 10**9


async def test_a_listener_loses_nothing_of_many_pods_at_once(
    cri: Client, images: Images, logs: Path
) -> None:
    async def life(number: int) -> tuple[str, str]:
        pod = Pod(name=f"pod-{number}", logs=logs)
        running = await cri.run_pod(pod)
        main = Container(name="main", image=images[BUSYBOX], command=["true"])
        container = await cri.run(running, main)
        await cri.exited(container)
        await cri.stop_pod(running.id)
        await cri.remove_pod(running.id)
        return running.id, container

    async with listening(cri) as (events,):
        async with asyncio.TaskGroup() as group:
            lives = [group.create_task(life(number)) for number in range(8)]
        heard = await take(events, 8 * 8)
        for pod, container in (one.result() for one in lives):
            own = [one for one in heard if one.container_id in {pod, container}]
            assert told(own, pod=pod, main=container) == [
                ("CREATED", "pod"),
                ("STARTED", "pod"),
                ("CREATED", "main"),
                ("STARTED", "main"),
                ("STOPPED", "main"),
                ("STOPPED", "pod"),
                ("DELETED", "main"),
                ("DELETED", "pod"),
            ]


async def test_listeners_do_not_keep_the_daemon_from_ending(
    node: None, make_daemon: DaemonMaker, logs: Path
) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as client, listening(client, 3) as listeners:
        pod = await client.run_pod(Pod(name="pod", logs=logs))
        began = time.monotonic()
        await asyncio.to_thread(daemon.stop)
        assert time.monotonic() - began < 3
        for events in listeners:
            async with asyncio.timeout(5):
                assert [one.container_id async for one in events] == [pod.id, pod.id]
    await asyncio.to_thread(daemon.start)
    async with connected(daemon.address) as client, listening(client) as (events,):
        await client.stop_pod(pod.id)
        await client.remove_pod(pod.id)
        assert told(await take(events, 2), pod=pod.id) == [("STOPPED", "pod"), ("DELETED", "pod")]


async def test_one_that_reads_nothing_is_told_and_one_that_keeps_up_loses_nothing(
    node: None, make_daemon: DaemonMaker, logs: Path
) -> None:
    """Long annotations and small windows: few events lie in sockets, beside those that are kept."""
    kept, lives = 4096, 1060
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]

    async def live(numbers: Iterator[int]) -> None:
        for number in numbers:
            pod = Pod(name=f"pod-{number}", logs=logs, annotations={"long": "x" * 8192})
            running = await client.run_pod(pod)
            await client.stop_pod(running.id)
            await client.remove_pod(running.id)

    async def follow(events: Events) -> dict[str, list[str]]:
        heard: dict[str, list[str]] = {}
        for _ in range(4 * lives):
            event = await anext(events)
            name = event.pod_sandbox_status.metadata.name
            kind = pb.ContainerEventType.Name(event.container_event_type)
            heard.setdefault(name, []).append(kind.split("_")[1])
        return heard

    daemon = make_daemon()
    async with (
        connected(daemon.address) as client,
        aio.insecure_channel(f"unix:{daemon.address}", options=narrow) as channel,
        listening(client) as (quick,),
        listening(Client(channel)) as (stuck,),
    ):
        numbers = iter(range(lives))
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            following = group.create_task(follow(quick))
            for _ in range(8):
                group.create_task(live(numbers))
        heard = following.result()
        assert len(heard) == lives
        assert all(told == ["CREATED", "STARTED", "STOPPED", "DELETED"] for told in heard.values())
        held, end = await to_the_end(stuck)
        assert end is StatusCode.RESOURCE_EXHAUSTED
        assert kept <= held < 4 * lives


async def test_listeners_that_vanish_leave_nothing(cri: Client, daemon: Service) -> None:
    """Each over a connection of its own, which ends without a word."""
    for _ in range(5):
        async with AsyncExitStack() as stack:
            for _ in range(20):
                client = await stack.enter_async_context(connected(daemon.address))
                await stack.enter_async_context(listening(client))
    async with asyncio.timeout(20):
        while await calls_in_flight(cri):
            await asyncio.sleep(0.05)


async def calls_in_flight(client: Client) -> list[str]:
    stub = node_pb2_grpc.NodeStub(client.channel)
    answer = await stub.Operations(node_pb2.OperationsRequest())
    return [one.kind for one in answer.operations if one.kind == "GetContainerEvents"]
