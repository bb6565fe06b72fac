from dataclasses import replace

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert import stats
from runtime.cgroups import Counters
from runtime.pods import Filter
from runtime.stats import ContainerStats, Network, Sample, SandboxStats
from tests.fakes.stats import ETH0
from tests.usage import CONTAINER, COUNTERS, SANDBOX, STATUS


def test_a_container_with_everything() -> None:
    message = stats.container_stats_to(CONTAINER, "/snapshots")
    assert message.attributes == pb.ContainerAttributes(
        id="c1",
        metadata=pb.ContainerMetadata(name="main", attempt=2),
        labels={"l": "1"},
        annotations={"a": "2"},
    )
    assert message.cpu == pb.CpuUsage(
        timestamp=77,
        usage_core_nano_seconds=pb.UInt64Value(value=10),
        usage_nano_cores=pb.UInt64Value(value=5),
        psi=pb.PsiStats(Some=pb.PsiData(Total=5, Avg10=1.5, Avg60=2, Avg300=3)),
    )
    assert message.memory == pb.MemoryUsage(
        timestamp=77,
        working_set_bytes=pb.UInt64Value(value=400),
        available_bytes=pb.UInt64Value(value=600),
        usage_bytes=pb.UInt64Value(value=500),
        rss_bytes=pb.UInt64Value(value=300),
        page_faults=pb.UInt64Value(value=7),
        major_page_faults=pb.UInt64Value(value=1),
    )
    assert message.swap == pb.SwapUsage(
        timestamp=77,
        swap_available_bytes=pb.UInt64Value(value=90),
        swap_usage_bytes=pb.UInt64Value(value=10),
    )
    assert message.io == pb.IoUsage(timestamp=77, psi=pb.PsiStats(Full=pb.PsiData(Total=6)))
    assert message.writable_layer == pb.FilesystemUsage(
        timestamp=66,
        fs_id=pb.FilesystemIdentifier(mountpoint="/snapshots"),
        used_bytes=pb.UInt64Value(value=4096),
        inodes_used=pb.UInt64Value(value=2),
    )


def test_what_is_not_known_stays_unset() -> None:
    bare = ContainerStats(status=STATUS, sample=Sample(counters=Counters(timestamp=1)))
    message = stats.container_stats_to(bare, "/snapshots")
    assert [field.name for field, _ in message.ListFields()] == ["attributes"]
    some = replace(bare, sample=Sample(counters=Counters(timestamp=1, cpu_usage=0, memory_usage=0)))
    message = stats.container_stats_to(some, "/snapshots")
    assert message.cpu.HasField("usage_core_nano_seconds")
    assert not message.cpu.HasField("usage_nano_cores")
    assert not message.memory.HasField("available_bytes")


def test_nothing_is_available_above_the_limit() -> None:
    over = Counters(timestamp=1, memory_usage=9, memory_working_set=9, memory_limit=5)
    message = stats.container_stats_to(
        ContainerStats(status=STATUS, sample=Sample(counters=over)), "/"
    )
    assert message.memory.available_bytes.value == 0
    assert message.memory.HasField("available_bytes")


def test_a_pod_with_everything() -> None:
    net1 = replace(ETH0, name="net1", rx_bytes=9)
    pod = SandboxStats(
        sandbox=SANDBOX,
        sample=Sample(counters=COUNTERS),
        network=Network(timestamp=88, interfaces=(ETH0, net1)),
        processes=4,
        containers=(CONTAINER,),
    )
    message = stats.sandbox_stats_to(pod, "/snapshots")
    assert message.attributes == pb.PodSandboxAttributes(
        id="s1",
        metadata=pb.PodSandboxMetadata(name="web", uid="u", namespace="ns", attempt=1),
        labels={"app": "web"},
        annotations={"n": "v"},
    )
    linux = message.linux
    assert (linux.cpu.timestamp, linux.memory.usage_bytes.value) == (77, 500)
    assert linux.process == pb.ProcessUsage(timestamp=77, process_count=pb.UInt64Value(value=4))
    assert linux.network.timestamp == 88
    assert linux.network.default_interface == pb.NetworkInterfaceUsage(
        name="eth0",
        rx_bytes=pb.UInt64Value(value=100),
        rx_errors=pb.UInt64Value(value=1),
        tx_bytes=pb.UInt64Value(value=200),
        tx_errors=pb.UInt64Value(value=3),
    )
    assert [one.name for one in linux.network.interfaces] == ["net1"]
    assert list(linux.containers) == [stats.container_stats_to(CONTAINER, "/snapshots")]
    assert linux.io.timestamp == 77


def test_a_network_without_interfaces_is_left_out() -> None:
    """The kubelet follows `default_interface` without a look whether it is there."""
    pod = SandboxStats(sandbox=SANDBOX, network=Network(timestamp=1, interfaces=()))
    assert stats.sandbox_stats_to(pod, "/").linux == pb.LinuxPodSandboxStats()


def test_filters() -> None:
    assert stats.container_stats_filter_from(pb.ContainerStatsFilter()) == Filter()
    assert stats.container_stats_filter_from(
        pb.ContainerStatsFilter(id="c", pod_sandbox_id="s", label_selector={"a": "b"})
    ) == Filter(id="c", sandbox_id="s", labels={"a": "b"})
    assert stats.sandbox_stats_filter_from(
        pb.PodSandboxStatsFilter(id="s", label_selector={"a": "b"})
    ) == Filter(id="s", labels={"a": "b"})
