from cri.api.runtime.v1 import api_pb2 as pb
from tests.calling import run_container, run_pod
from tests.serving import Clients


async def test_all_there_may_be_is_described(clients: Clients) -> None:
    answer = await clients.runtime.ListMetricDescriptors(pb.ListMetricDescriptorsRequest())
    assert len(answer.descriptors) == 56
    keys = {one.name: list(one.label_keys) for one in answer.descriptors}
    assert keys["container_memory_rss"] == [
        "container",
        "id",
        "image",
        "name",
        "namespace",
        "pod",
    ]
    assert keys["container_network_receive_bytes_total"][-1] == "interface"


async def test_pods_that_are_ready_have_metrics(clients: Clients) -> None:
    ready, stopped = await run_pod(clients, "ready"), await run_pod(clients, "stopped")
    container = await run_container(clients, ready)
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=stopped))
    answer = await clients.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
    (pod,) = answer.pod_metrics
    assert pod.pod_sandbox_id == ready
    assert "container_network_receive_bytes_total" in {one.name for one in pod.metrics}
    (of_container,) = pod.container_metrics
    assert of_container.container_id == container
    (sockets,) = (one for one in of_container.metrics if one.name == "container_sockets")
    assert sockets.value.value == 1
    assert list(sockets.label_values)[3:] == [container, "ns", "ready"]


async def test_a_container_that_has_ended_has_no_metrics(clients: Clients) -> None:
    container = await run_container(clients, await run_pod(clients))
    await clients.runtime.StopContainer(pb.StopContainerRequest(container_id=container))
    answer = await clients.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
    assert list(answer.pod_metrics[0].container_metrics) == []


async def test_the_stream_tells_the_same(clients: Clients) -> None:
    pods = [await run_pod(clients, f"pod-{number}") for number in range(3)]
    call = clients.runtime.StreamPodSandboxMetrics(pb.StreamPodSandboxMetricsRequest())
    chunks = [chunk async for chunk in call]
    told = [one.pod_sandbox_id for chunk in chunks for one in chunk.pod_sandbox_metrics]
    assert told == pods
