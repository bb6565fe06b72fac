import json
from collections.abc import Awaitable

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.containers import fitted
from runtime.oci import ExecOutput
from tests.serving import Clients, Parts


async def sandbox(clients: Clients) -> str:
    metadata = pb.PodSandboxMetadata(name="pod", uid="u", namespace="ns")
    config = pb.PodSandboxConfig(metadata=metadata, log_directory="/logs")
    answer = await clients.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config))
    return answer.pod_sandbox_id


async def create(clients: Clients, sandbox_id: str, name: str = "c", **labels: str) -> str:
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name),
        image=pb.ImageSpec(image="sha256:1"),
        log_path=f"{name}/0.log",
        labels=labels,
    )
    request = pb.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)
    return (await clients.runtime.CreateContainer(request)).container_id


async def running(clients: Clients) -> str:
    id_ = await create(clients, await sandbox(clients))
    await clients.runtime.StartContainer(pb.StartContainerRequest(container_id=id_))
    return id_


async def status(clients: Clients, id_: str) -> pb.ContainerStatus:
    request = pb.ContainerStatusRequest(container_id=id_)
    return (await clients.runtime.ContainerStatus(request)).status


async def code(call: Awaitable[object]) -> tuple[StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details() or ""


async def test_a_container_goes_through_its_life(clients: Clients) -> None:
    id_ = await create(clients, await sandbox(clients))
    assert (await status(clients, id_)).state == pb.CONTAINER_CREATED
    await clients.runtime.StartContainer(pb.StartContainerRequest(container_id=id_[:8]))
    assert (await status(clients, id_)).state == pb.CONTAINER_RUNNING
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id=id_, timeout=7))
    stopped = await status(clients, id_)
    assert (stopped.state, stopped.exit_code) == (pb.CONTAINER_EXITED, 137)
    await clients.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=id_))
    found, _ = await code(
        clients.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=id_))
    )
    assert found is StatusCode.NOT_FOUND


async def test_the_grace_of_a_stop_arrives(clients: Clients, parts: Parts) -> None:
    id_ = await running(clients)
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id=id_, timeout=7))
    assert parts.containers.calls == [("stop", id_, "7")]


async def test_stop_and_remove_of_the_unknown_are_no_errors(clients: Clients, parts: Parts) -> None:
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id="none"))
    await clients.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id="none"))
    assert parts.containers.calls == [("stop", "none", "0"), ("remove", "none")]


async def test_other_calls_about_the_unknown_are_not_found(clients: Clients) -> None:
    runtime = clients.runtime
    calls: list[Awaitable[object]] = [
        runtime.StartContainer(pb.StartContainerRequest(container_id="none")),
        runtime.ContainerStatus(pb.ContainerStatusRequest(container_id="none")),
        runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id="none")),
        runtime.ExecSync(pb.ExecSyncRequest(container_id="none", cmd=["true"])),
        runtime.UpdateContainerResources(
            pb.UpdateContainerResourcesRequest(
                container_id="none", linux=pb.LinuxContainerResources()
            )
        ),
    ]
    found = [await code(call) for call in calls]
    assert {one for one, _ in found} == {StatusCode.NOT_FOUND}
    assert all("none" in text for _, text in found)


async def test_a_second_start_is_a_failed_precondition(clients: Clients) -> None:
    id_ = await running(clients)
    found, _ = await code(
        clients.runtime.StartContainer(pb.StartContainerRequest(container_id=id_))
    )
    assert found is StatusCode.FAILED_PRECONDITION


async def test_a_verbose_status_tells_the_pid(clients: Clients) -> None:
    id_ = await running(clients)
    request = pb.ContainerStatusRequest(container_id=id_, verbose=True)
    answer = await clients.runtime.ContainerStatus(request)
    assert json.loads(answer.info["info"])["pid"] == 42


async def listed(clients: Clients, wanted: pb.ContainerFilter) -> list[str]:
    answer = await clients.runtime.ListContainers(pb.ListContainersRequest(filter=wanted))
    stream = clients.runtime.StreamContainers(pb.StreamContainersRequest(filter=wanted))
    streamed = [item async for chunk in stream for item in chunk.containers]
    assert streamed == list(answer.containers)
    return [item.metadata.name for item in answer.containers]


async def test_filters_are_anded_and_streams_show_the_same(clients: Clients) -> None:
    one, two = await sandbox(clients), await sandbox(clients)
    first = await create(clients, one, "a", app="web")
    await create(clients, one, "b", app="db")
    await create(clients, two, "c", app="web")
    await clients.runtime.StartContainer(pb.StartContainerRequest(container_id=first))
    up = pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)
    created = pb.ContainerStateValue(state=pb.CONTAINER_CREATED)
    assert await listed(clients, pb.ContainerFilter()) == ["a", "b", "c"]
    assert await listed(clients, pb.ContainerFilter(pod_sandbox_id=one)) == ["a", "b"]
    assert await listed(clients, pb.ContainerFilter(state=up)) == ["a"]
    assert await listed(clients, pb.ContainerFilter(label_selector={"app": "web"})) == ["a", "c"]
    both = pb.ContainerFilter(state=created, label_selector={"app": "web"})
    assert await listed(clients, both) == ["c"]


async def shown(clients: Clients, id_: str) -> pb.ContainerState.ValueType:
    answer = await clients.runtime.ListContainers(pb.ListContainersRequest())
    assert answer.containers[0].state == (await status(clients, id_)).state
    return answer.containers[0].state


async def test_a_list_agrees_with_the_status_after_each_move(clients: Clients) -> None:
    id_ = await create(clients, await sandbox(clients))
    seen = [await shown(clients, id_)]
    await clients.runtime.StartContainer(pb.StartContainerRequest(container_id=id_))
    seen.append(await shown(clients, id_))
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id=id_))
    seen.append(await shown(clients, id_))
    assert seen == [pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED]


async def test_new_limits_are_reported(clients: Clients) -> None:
    id_ = await running(clients)
    limits = pb.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=1 << 27)
    await clients.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(container_id=id_, linux=limits)
    )
    assert (await status(clients, id_)).resources.linux == limits


async def test_a_log_is_reopened(clients: Clients, parts: Parts) -> None:
    id_ = await running(clients)
    await clients.runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id=id_[:9]))
    assert parts.containers.calls == [("reopen_log", id_)]


async def test_an_exec_answers_with_output_and_exit_code(clients: Clients) -> None:
    request = pb.ExecSyncRequest(container_id=await running(clients), cmd=["false", "x"])
    answer = await clients.runtime.ExecSync(request)
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"false x", b"", 3)


async def test_an_exec_that_takes_too_long_is_deadline_exceeded(clients: Clients) -> None:
    request = pb.ExecSyncRequest(container_id=await running(clients), cmd=["sleep"], timeout=1)
    found, text = await code(clients.runtime.ExecSync(request))
    assert (found, text) == (StatusCode.DEADLINE_EXCEEDED, "sleep took longer than 1 s")


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [(5, 5, (5, 5)), (20, 0, (10, 0)), (0, 20, (0, 10)), (20, 20, (5, 5)), (20, 2, (8, 2))],
)
def test_output_is_cut_to_what_a_message_holds(
    stdout: int, stderr: int, expected: tuple[int, int]
) -> None:
    cut = fitted(ExecOutput(stdout=b"o" * stdout, stderr=b"e" * stderr, exit_code=1), limit=10)
    assert (len(cut.stdout), len(cut.stderr), cut.exit_code) == (*expected, 1)
