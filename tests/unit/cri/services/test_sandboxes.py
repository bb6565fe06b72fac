import json
from dataclasses import replace

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import serialised
from cri.services.cri_runtime import NAMESPACE
from tests.calling import run_container
from tests.serving import Clients, Parts


def config(name: str = "pod", **labels: str) -> pb.PodSandboxConfig:
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid="uid", namespace="ns", attempt=1),
        labels=labels,
        annotations={"a": name},
    )


async def run(clients: Clients, name: str = "pod", **labels: str) -> str:
    request = pb.RunPodSandboxRequest(config=config(name, **labels))
    return (await clients.runtime.RunPodSandbox(request)).pod_sandbox_id


async def test_a_sandbox_is_ready_and_tells_what_it_was_asked_to_be(clients: Clients) -> None:
    id_ = await run(clients, app="web")
    answer = await clients.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=id_))
    status = answer.status
    assert (status.id, status.state, status.metadata) == (
        id_,
        pb.SANDBOX_READY,
        config().metadata,
    )
    assert dict(status.labels) == {"app": "web"}
    assert status.network.ip == "10.88.0.2"
    assert status.runtime_handler == "crun"
    assert not answer.info
    assert list(answer.containers_statuses) == []
    assert answer.timestamp > 0


async def test_a_short_id_is_enough(clients: Clients) -> None:
    id_ = await run(clients)
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=id_[:6], verbose=True)
    answer = await clients.runtime.PodSandboxStatus(request)
    assert json.loads(answer.info["info"])["sandboxID"] == id_
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=id_[:6]))
    again = await clients.runtime.PodSandboxStatus(request)
    assert again.status.state == pb.SANDBOX_NOTREADY


async def test_an_unknown_handler_is_refused(clients: Clients, parts: Parts) -> None:
    request = pb.RunPodSandboxRequest(config=config(), runtime_handler="none")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.runtime.RunPodSandbox(request)
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT
    assert parts.sandboxes.kept == {}


async def test_stop_and_remove_of_the_unknown_are_no_errors(clients: Clients, parts: Parts) -> None:
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id="none"))
    await clients.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id="none"))
    assert parts.sandboxes.calls == [("stop", "none"), ("remove", "none")]


async def test_the_status_of_the_unknown_is_not_found(clients: Clients) -> None:
    id_ = await run(clients)
    await clients.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=id_))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=id_))
    assert raised.value.code() is StatusCode.NOT_FOUND


async def listed(clients: Clients, **filter_: object) -> list[str]:
    wanted = pb.PodSandboxFilter(**filter_)  # type: ignore[arg-type] # built from keywords
    answer = await clients.runtime.ListPodSandbox(pb.ListPodSandboxRequest(filter=wanted))
    stream = clients.runtime.StreamPodSandboxes(pb.StreamPodSandboxesRequest(filter=wanted))
    streamed = [item async for chunk in stream for item in chunk.pod_sandboxes]
    assert streamed == list(answer.items)
    return [item.metadata.name for item in answer.items]


async def test_filters_are_anded_and_streams_show_the_same(clients: Clients) -> None:
    first = await run(clients, "one", app="web", tier="a")
    await run(clients, "two", app="web")
    third = await run(clients, "three", app="db")
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=third))
    ready = pb.PodSandboxStateValue(state=pb.SANDBOX_READY)
    assert await listed(clients) == ["one", "two", "three"]
    assert await listed(clients, state=ready) == ["one", "two"]
    assert await listed(clients, label_selector={"app": "web", "tier": "a"}) == ["one"]
    assert await listed(clients, id=first[:5]) == ["one"]
    assert await listed(clients, id=first, state=ready, label_selector={"app": "db"}) == []


async def test_a_list_shows_a_change_at_once(clients: Clients, parts: Parts) -> None:
    id_ = await run(clients)
    assert await listed(clients) == ["pod"]
    old = parts.sandboxes.kept[NAMESPACE, id_]
    metadata = replace(old.config.metadata, name="renamed")
    parts.sandboxes.kept[NAMESPACE, id_] = replace(
        old, config=replace(old.config, metadata=metadata)
    )
    assert await listed(clients) == ["renamed"]


async def test_a_list_too_large_for_one_message_points_to_the_stream(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(clients, "one")
    await run(clients, "two")
    monkeypatch.setattr(serialised, "MAX_UNARY", 10)
    monkeypatch.setattr(serialised, "MAX_CHUNK", 10)
    with pytest.raises(grpc.aio.AioRpcError, match="use StreamPodSandboxes") as raised:
        await clients.runtime.ListPodSandbox(pb.ListPodSandboxRequest())
    assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
    stream = clients.runtime.StreamPodSandboxes(pb.StreamPodSandboxesRequest())
    names = [[item.metadata.name for item in chunk.pod_sandboxes] async for chunk in stream]
    assert names == [["one"], ["two"]]


async def test_the_status_has_those_of_its_containers(clients: Clients) -> None:
    pod, other = await run(clients, "pod"), await run(clients, "other")
    first, second = [await run_container(clients, pod, name) for name in ("a", "b")]
    await run_container(clients, other, "c")
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id=second))
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod)
    answer = await clients.runtime.PodSandboxStatus(request)
    assert [(one.id, one.state) for one in answer.containers_statuses] == [
        (first, pb.CONTAINER_RUNNING),
        (second, pb.CONTAINER_EXITED),
    ]
    single = pb.ContainerStatusRequest(container_id=first)
    expected = (await clients.runtime.ContainerStatus(single)).status
    assert answer.containers_statuses[0] == expected


async def test_new_limits_are_agreed_to_and_shown(clients: Clients) -> None:
    id_ = await run(clients)
    request = pb.UpdatePodSandboxResourcesRequest(
        pod_sandbox_id=id_[:6],
        resources=pb.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=1 << 30),
    )
    await clients.runtime.UpdatePodSandboxResources(request)
    status = pb.PodSandboxStatusRequest(pod_sandbox_id=id_, verbose=True)
    info = json.loads((await clients.runtime.PodSandboxStatus(status)).info["info"])
    assert info["resources"] == {"cpu_shares": 512, "memory_limit": 1 << 30}
    assert info["overhead"] == {}


async def test_limits_that_cannot_be_kept_are_refused(clients: Clients, parts: Parts) -> None:
    id_ = await run(clients)
    parts.sandboxes.used = 1 << 20
    request = pb.UpdatePodSandboxResourcesRequest(
        pod_sandbox_id=id_,
        resources=pb.LinuxContainerResources(memory_limit_in_bytes=1 << 19),
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.runtime.UpdatePodSandboxResources(request)
    assert raised.value.code() is StatusCode.FAILED_PRECONDITION
    request.resources.cpu_period = 5
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.runtime.UpdatePodSandboxResources(request)
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT
    assert "resources.cpu_period" in (raised.value.details() or "")
