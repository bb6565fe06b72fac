"""What pods use: statistics and metrics against what was done on purpose."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.conftest import DaemonMaker
from e2e.images import BUSYBOX
from e2e.registry import Registry

pytestmark = pytest.mark.root

Images = Mapping[str, str]
MIB = 1 << 20

# Not every machine counts what goes to its disks (the overlay may have no block device under it),
# gives containers huge pages, or tells pressure; limits that were not asked for are not shown.
_OPTIONAL = {
    "container_blkio_device_usage_total",
    "container_fs_reads_bytes_total",
    "container_fs_reads_total",
    "container_fs_writes_bytes_total",
    "container_fs_writes_total",
    "container_hugetlb_max_usage_bytes",
    "container_hugetlb_usage_bytes",
    "container_spec_cpu_quota",
    "container_spec_memory_reservation_limit_bytes",
    "container_spec_memory_swap_limit_bytes",
    *(
        f"container_pressure_{resource}_{kind}_seconds_total"
        for resource in ("cpu", "memory", "io")
        for kind in ("waiting", "stalled")
    ),
}


def shell(name: str, images: Images, script: str) -> Container:
    return Container(name=name, image=images[BUSYBOX], command=["sh", "-c", script])


async def container_stats(client: Client, container: str) -> pb.ContainerStats:
    request = pb.ContainerStatsRequest(container_id=container)
    return (await client.runtime.ContainerStats(request)).stats


async def pod_stats(client: Client, pod: str) -> pb.PodSandboxStats:
    request = pb.PodSandboxStatsRequest(pod_sandbox_id=pod)
    return (await client.runtime.PodSandboxStats(request)).stats


async def pod_metrics(client: Client, pod: str) -> pb.PodSandboxMetrics:
    answer = await client.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
    return next(one for one in answer.pod_metrics if one.pod_sandbox_id == pod)


def values(metrics: Iterable[pb.Metric], name: str) -> list[int]:
    return [one.value.value for one in metrics if one.name == name]


async def test_a_busy_container_shows_how_busy_it_is(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="busy", logs=logs), handler) as running:
        container = await cri.run(running, shell("main", images, "while :; do :; done"))
        first = await container_stats(cri, container)
        await asyncio.sleep(1.2)
        second = await container_stats(cri, container)
        assert first.attributes.metadata.name == "main"
        assert second.attributes.labels == first.attributes.labels
        assert second.cpu.timestamp > first.cpu.timestamp > 0
        used = second.cpu.usage_core_nano_seconds.value - first.cpu.usage_core_nano_seconds.value
        passed = second.cpu.timestamp - first.cpu.timestamp
        assert not first.cpu.HasField("usage_nano_cores")
        rate = second.cpu.usage_nano_cores.value
        assert rate == pytest.approx(used * 1e9 / passed, rel=0.05)
        assert rate > 20_000_000, "a loop without end gets some of a core on any machine"


async def test_memory_is_what_a_container_holds(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="memory", logs=logs), handler) as running:
        container = await cri.run(running, shell("main", images, "sleep 600"))
        before = (await container_stats(cri, container)).memory
        await cri.output(container, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=20")
        await asyncio.sleep(0.6)
        after = (await container_stats(cri, container)).memory
        assert after.timestamp > before.timestamp > 0
        grown = after.working_set_bytes.value - before.working_set_bytes.value
        assert 19 * MIB < grown < 30 * MIB
        assert after.usage_bytes.value >= after.working_set_bytes.value
        assert after.rss_bytes.value < 15 * MIB
        limit = Container(name="", image="").memory
        assert after.available_bytes.value == limit - after.working_set_bytes.value
        assert after.page_faults.value > before.page_faults.value


async def test_a_layer_is_what_a_container_wrote(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    script = "dd if=/dev/zero of=/var/big bs=1M count=5; mkdir /var/d; touch /var/d/1; sleep 600"
    async with cri.pod(Pod(name="layer", logs=logs), handler) as running:
        empty = await cri.run(running, shell("empty", images, "sleep 600"))
        writer = await cri.run(running, shell("writer", images, script))
        async with asyncio.timeout(20):
            while (await cri.exec(writer, "test", "-e", "/var/d/1"))[0]:
                await asyncio.sleep(0.02)
        small = (await container_stats(cri, empty)).writable_layer
        large = (await container_stats(cri, writer)).writable_layer
        assert Path(small.fs_id.mountpoint).is_dir()
        assert small.fs_id == large.fs_id
        assert large.timestamp > 0
        assert 5 * MIB <= large.used_bytes.value < 6 * MIB
        assert large.inodes_used.value - small.inodes_used.value >= 3
        await cri.stop(writer)
        ended = await container_stats(cri, writer)
        assert not ended.HasField("cpu")
        assert not ended.HasField("memory")
        assert ended.writable_layer.used_bytes.value >= 5 * MIB


async def test_a_pod_adds_up_its_containers_and_counts_what_it_sends(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with (
        cri.pod(Pod(name="one", logs=logs, labels={"app": "x"}), handler) as one,
        cri.pod(Pod(name="two", logs=logs), handler) as two,
    ):
        first = await cri.run(one, shell("a", images, "sleep 600 & sleep 600 & wait"))
        second = await cri.run(one, shell("b", images, "sleep 600"))
        target = await cri.pod_status(two.id)
        before = (await pod_stats(cri, one.id)).linux
        await cri.output(first, "ping", "-c", "3", "-s", "1000", "-i", "0.2", target.network.ip)
        await asyncio.sleep(0.6)
        stats = await pod_stats(cri, one.id)
        assert stats.attributes.metadata == one.config.metadata
        assert stats.attributes.labels["app"] == "x"
        linux = stats.linux
        assert [container.attributes.id for container in linux.containers] == [first, second]
        assert linux.process.process_count.value == 4
        assert linux.memory.usage_bytes.value >= max(
            container.memory.usage_bytes.value for container in linux.containers
        )
        assert linux.cpu.usage_core_nano_seconds.value > 0
        network, earlier = linux.network.default_interface, before.network.default_interface
        assert network.name == "eth0"
        assert network.tx_bytes.value - earlier.tx_bytes.value >= 3000
        assert network.rx_bytes.value - earlier.rx_bytes.value >= 3000
        assert network.tx_errors.value == 0
        assert "lo" not in [interface.name for interface in linux.network.interfaces]
        listed = await cri.runtime.ListPodSandboxStats(
            pb.ListPodSandboxStatsRequest(
                filter=pb.PodSandboxStatsFilter(label_selector={"app": "x"})
            )
        )
        assert [pod.attributes.id for pod in listed.stats] == [one.id]


async def test_a_pod_on_the_nodes_network_has_none_of_its_own(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="host", logs=logs, network="NODE")) as running:
        await cri.run(running, shell("main", images, "sleep 600"))
        assert not (await pod_stats(cri, running.id)).linux.HasField("network")
        metrics = await pod_metrics(cri, running.id)
        assert not values(metrics.metrics, "container_network_receive_bytes_total")


async def test_the_probe_of_a_kubelet_is_an_error_but_no_refusal(cri: Client) -> None:
    """With PodAndContainerStatsFromCRI it asks for no pod at all: UNIMPLEMENTED would be a no."""
    with pytest.raises(aio.AioRpcError) as error:
        await cri.runtime.PodSandboxStats(pb.PodSandboxStatsRequest())
    assert code(error.value) is StatusCode.INVALID_ARGUMENT
    answer = await cri.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest())
    assert list(answer.stats) == []


async def test_streams_and_lists_tell_the_same(cri: Client, images: Images, logs: Path) -> None:
    async with cri.pod(Pod(name="many", logs=logs)) as running:
        made = [
            await cri.run(running, shell(f"c{number}", images, "sleep 600")) for number in range(3)
        ]
        listed = await cri.runtime.ListContainerStats(pb.ListContainerStatsRequest())
        assert [one.attributes.id for one in listed.stats] == made
        containers = cri.runtime.StreamContainerStats(pb.StreamContainerStatsRequest())
        streamed = [
            one.attributes.id async for chunk in containers for one in chunk.container_stats
        ]
        assert streamed == made
        pods = cri.runtime.StreamPodSandboxStats(pb.StreamPodSandboxStatsRequest())
        found = [one.attributes.id async for chunk in pods for one in chunk.pod_sandbox_stats]
        assert found == [running.id]
        metrics = cri.runtime.StreamPodSandboxMetrics(pb.StreamPodSandboxMetricsRequest())
        told = [one.pod_sandbox_id async for chunk in metrics for one in chunk.pod_sandbox_metrics]
        assert told == [running.id]


async def test_every_metric_is_described_and_told(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="metrics", logs=logs)
    async with cri.pod(pod, handler) as running:
        script = "echo hello >/var/file; nc -l -p 5000 & wait"
        container = await cri.run(running, shell("main", images, script))
        async with asyncio.timeout(20):
            while ":5000 " not in await cri.output(container, "netstat", "-ltn"):
                await asyncio.sleep(0.02)
        answer = await cri.runtime.ListMetricDescriptors(pb.ListMetricDescriptorsRequest())
        keys = {one.name: list(one.label_keys) for one in answer.descriptors}
        assert len(keys) == 56
        told = await pod_metrics(cri, running.id)
        (of_container,) = told.container_metrics
        assert of_container.container_id == container
        every = [*told.metrics, *of_container.metrics]
        assert keys.keys() - {one.name for one in every} <= _OPTIONAL
        assert {one.name for one in every} <= keys.keys()
        assert all(len(one.label_values) == len(keys[one.name]) for one in every)
        assert set(Counter((one.name, *one.label_values) for one in every).values()) == {1}
        assert values(of_container.metrics, "container_sockets") == [1]
        assert values(of_container.metrics, "container_processes") == [2]
        assert values(of_container.metrics, "container_threads") == [2]
        assert values(of_container.metrics, "container_file_descriptors")[0] >= 6
        assert values(of_container.metrics, "container_spec_memory_limit_bytes") == [128 * MIB]
        assert values(of_container.metrics, "container_spec_cpu_shares") == [102]
        assert 4096 <= values(of_container.metrics, "container_fs_usage_bytes")[0] < MIB
        started = (await cri.status(container)).started_at // 10**9
        assert values(of_container.metrics, "container_start_time_seconds") == [started]
        assert abs(values(of_container.metrics, "container_last_seen")[0] - time.time()) < 30
        (rss,) = (one for one in of_container.metrics if one.name == "container_memory_rss")
        labels = dict(zip(keys[rss.name], rss.label_values, strict=True))
        assert (labels["container"], labels["name"]) == ("main", container)
        assert (labels["pod"], labels["namespace"]) == ("metrics", "e2e")
        assert labels["id"].endswith(container)
        assert labels["image"] == (await cri.status(container)).image.image


async def test_an_out_of_memory_kill_is_counted(cri: Client, images: Images, logs: Path) -> None:
    """The first process lives on, so that there is a container to ask about."""
    script = "while :; do sh -c 'x=xxxxxxxx; while :; do x=$x$x; done'; sleep 600; done"
    async with cri.pod(Pod(name="oom", logs=logs)) as running:
        main = Container(
            name="main", image=images[BUSYBOX], command=["sh", "-c", script], memory=16 * MIB
        )
        config = main.config(running.pod)
        config.linux.resources.memory_swap_limit_in_bytes = 16 * MIB
        await cri.run(running, main, config)
        async with asyncio.timeout(30):
            while not (
                killed := values(
                    (await pod_metrics(cri, running.id)).container_metrics[0].metrics,
                    "container_oom_events_total",
                )
            )[0]:
                await asyncio.sleep(0.1)
        assert killed == [1]


async def test_pressure_is_told_where_the_kernel_tells_it(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="pressure", logs=logs)) as running:
        container = await cri.run(running, shell("main", images, "sleep 600"))
        stats = await container_stats(cri, container)
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        told = v2 and Path("/proc/pressure/cpu").exists()
        assert stats.cpu.HasField("psi") == told
        assert stats.memory.HasField("psi") == told
        assert stats.HasField("io") == told


async def test_lists_agree_with_single_answers_and_forget_what_is_removed(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="agree", logs=logs), handler) as running:
        made = [
            await cri.run(running, shell(f"c{number}", images, "while :; do sleep 0.1; done"))
            for number in range(4)
        ]
        listed = await cri.runtime.ListContainerStats(pb.ListContainerStatsRequest())
        for stats in listed.stats:
            single = await container_stats(cri, stats.attributes.id)
            assert single.attributes == stats.attributes
            assert single.writable_layer.fs_id == stats.writable_layer.fs_id
            assert single.cpu.timestamp >= stats.cpu.timestamp
            used, before = single.cpu.usage_core_nano_seconds, stats.cpu.usage_core_nano_seconds
            assert used.value >= before.value > 0
        pods = await cri.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest())
        (pod,) = pods.stats
        assert pod.attributes == (await pod_stats(cri, running.id)).attributes
        assert [one.attributes.id for one in pod.linux.containers] == made
        await cri.remove(made[0])
        with pytest.raises(aio.AioRpcError) as error:
            await container_stats(cri, made[0])
        assert code(error.value) is StatusCode.NOT_FOUND
        listed = await cri.runtime.ListContainerStats(pb.ListContainerStatsRequest())
        assert [one.attributes.id for one in listed.stats] == made[1:]
        told = await pod_metrics(cri, running.id)
        assert [one.container_id for one in told.container_metrics] == made[1:]
    with pytest.raises(aio.AioRpcError) as error:
        await pod_stats(cri, running.id)
    assert code(error.value) is StatusCode.NOT_FOUND
    assert not (await cri.runtime.ListContainerStats(pb.ListContainerStatsRequest())).stats
    assert not (await cri.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest())).stats
    answer = await cri.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
    assert not answer.pod_metrics


async def test_numbers_go_on_after_the_daemon_was_killed(
    images: Images, registry: Registry, make_daemon: DaemonMaker, logs: Path
) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        pod = await client.run_pod(Pod(name="kept", logs=logs))
        container = await client.run(pod, shell("main", {BUSYBOX: image}, "while :; do :; done"))
        before = await container_stats(client, container)
    await asyncio.to_thread(daemon.restart, crash=True)
    async with connected(daemon.address) as client:
        after = await container_stats(client, container)
        used, earlier = after.cpu.usage_core_nano_seconds, before.cpu.usage_core_nano_seconds
        assert used.value > earlier.value
        assert after.attributes == before.attributes
        assert after.writable_layer.used_bytes == before.writable_layer.used_bytes
        await client.stop_pod(pod.id)
        await client.remove_pod(pod.id)
