import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import serialised
from tests.calling import run_container, run_pod
from tests.serving import Clients, Parts


async def test_one_container_by_a_short_id(clients: Clients, parts: Parts) -> None:
    id_ = await run_container(clients, await run_pod(clients))
    answer = await clients.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=id_[:8]))
    assert answer.stats.attributes.id == id_
    assert answer.stats.cpu.usage_core_nano_seconds.value == 5_000_000_000
    assert answer.stats.cpu.usage_nano_cores.value == 7
    assert answer.stats.memory.working_set_bytes.value == 1024
    assert answer.stats.writable_layer.fs_id.mountpoint == parts.statistics.mountpoint


async def test_one_pod_with_its_containers(clients: Clients) -> None:
    pod = await run_pod(clients)
    id_ = await run_container(clients, pod)
    answer = await clients.runtime.PodSandboxStats(
        pb.PodSandboxStatsRequest(pod_sandbox_id=pod[:6])
    )
    assert answer.stats.attributes.id == pod
    assert answer.stats.linux.network.default_interface.name == "eth0"
    assert [one.attributes.id for one in answer.stats.linux.containers] == [id_]


async def test_what_is_not_there_has_no_statistics(clients: Clients) -> None:
    for call in (
        clients.runtime.ContainerStats(pb.ContainerStatsRequest(container_id="none")),
        clients.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id="none")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is StatusCode.NOT_FOUND


async def test_the_kubelets_question_whether_we_can_is_answered(clients: Clients) -> None:
    """It asks for no pod in particular, and anything but UNIMPLEMENTED is a yes."""
    await run_pod(clients)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.runtime.PodSandboxStats(pb.PodSandboxStatsRequest())
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "pod_sandbox_id: must not be empty"


async def test_lists_are_of_what_matches(clients: Clients) -> None:
    one, two = await run_pod(clients, "one", app="web"), await run_pod(clients, "two")
    first = await run_container(clients, one, "a", tier="front")
    second = await run_container(clients, two, "b")

    async def containers(filter_: pb.ContainerStatsFilter | None) -> list[str]:
        request = pb.ListContainerStatsRequest(filter=filter_)
        answer = await clients.runtime.ListContainerStats(request)
        return [stats.attributes.id for stats in answer.stats]

    wants = pb.ContainerStatsFilter
    assert await containers(None) == [first, second]
    assert await containers(wants()) == [first, second]
    assert await containers(wants(pod_sandbox_id=two)) == [second]
    assert await containers(wants(label_selector={"tier": "front"})) == [first]
    assert await containers(wants(id=first, pod_sandbox_id=two)) == []
    wanted = pb.PodSandboxStatsFilter(label_selector={"app": "web"})
    pods = await clients.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest(filter=wanted))
    assert [stats.attributes.id for stats in pods.stats] == [one]


async def test_ended_containers_only_take_space_and_stopped_pods_are_not_listed(
    clients: Clients,
) -> None:
    pod = await run_pod(clients)
    await run_container(clients, pod)
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod))
    (container,) = (await clients.runtime.ListContainerStats(pb.ListContainerStatsRequest())).stats
    assert not container.HasField("cpu")
    assert not container.HasField("memory")
    assert container.writable_layer.used_bytes.value == 8192
    answer = await clients.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest())
    assert list(answer.stats) == []
    one = await clients.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=pod))
    assert one.stats.attributes.id == pod


async def test_a_stream_has_every_item_once_and_something_in_every_message(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialised, "MAX_CHUNK", 600)
    pod = await run_pod(clients)
    made = [await run_container(clients, pod, f"c{number}") for number in range(20)]
    call = clients.runtime.StreamContainerStats(pb.StreamContainerStatsRequest())
    chunks = [chunk async for chunk in call]
    assert len(chunks) > 2
    assert all(chunk.container_stats for chunk in chunks)
    told = [one.attributes.id for chunk in chunks for one in chunk.container_stats]
    assert told == made
    pods = clients.runtime.StreamPodSandboxStats(pb.StreamPodSandboxStatsRequest())
    assert [one.attributes.id async for chunk in pods for one in chunk.pod_sandbox_stats] == [pod]


async def test_a_stream_of_nothing_ends_without_a_message(clients: Clients) -> None:
    call = clients.runtime.StreamContainerStats(pb.StreamContainerStatsRequest())
    assert [chunk async for chunk in call] == []


async def test_a_list_that_is_too_large_names_the_stream(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cri.services.serialised.MAX_UNARY", 500)
    pod = await run_pod(clients)
    for number in range(5):
        await run_container(clients, pod, f"c{number}")
    for call, stream in (
        (clients.runtime.ListContainerStats(pb.ListContainerStatsRequest()), "ContainerStats"),
        (clients.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest()), "PodSandboxStats"),
        (
            clients.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest()),
            "PodSandboxMetrics",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert f"use Stream{stream}" in (raised.value.details() or "")
