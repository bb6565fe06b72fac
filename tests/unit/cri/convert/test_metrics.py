"""Metrics: what is told of whom, under which labels, and what is left out."""

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import replace

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert import metrics
from cri.convert.facts import Facts
from cri.convert.families import BASE_LABELS, FAMILIES
from runtime.cgroups import Counters, DeviceIo, Hugepages, Pressure, Stall
from runtime.stats import (
    ContainerDetails,
    Files,
    Filesystem,
    Network,
    Sample,
    SandboxStats,
)
from tests.fakes.stats import ETH0
from tests.usage import CONTAINER, SANDBOX

# Those critest asks for, and those a kubelet takes beside them.
MANDATORY = [
    "container_blkio_device_usage_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_cpu_system_seconds_total",
    "container_cpu_usage_seconds_total",
    "container_cpu_user_seconds_total",
    "container_file_descriptors",
    "container_fs_inodes_free",
    "container_fs_inodes_total",
    "container_fs_limit_bytes",
    "container_fs_reads_bytes_total",
    "container_fs_reads_total",
    "container_fs_usage_bytes",
    "container_fs_writes_bytes_total",
    "container_fs_writes_total",
    "container_last_seen",
    "container_memory_cache",
    "container_memory_failcnt",
    "container_memory_failures_total",
    "container_memory_kernel_usage",
    "container_memory_mapped_file",
    "container_memory_max_usage_bytes",
    "container_memory_rss",
    "container_memory_swap",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_network_receive_bytes_total",
    "container_network_receive_errors_total",
    "container_network_receive_packets_dropped_total",
    "container_network_receive_packets_total",
    "container_network_transmit_bytes_total",
    "container_network_transmit_errors_total",
    "container_network_transmit_packets_dropped_total",
    "container_network_transmit_packets_total",
    "container_oom_events_total",
    "container_processes",
    "container_sockets",
    "container_spec_cpu_period",
    "container_spec_cpu_shares",
    "container_spec_memory_limit_bytes",
    "container_spec_memory_swap_limit_bytes",
    "container_start_time_seconds",
    "container_threads",
    "container_threads_max",
]
OPTIONAL = [
    "container_hugetlb_max_usage_bytes",
    "container_hugetlb_usage_bytes",
    "container_pressure_cpu_stalled_seconds_total",
    "container_pressure_cpu_waiting_seconds_total",
    "container_pressure_io_stalled_seconds_total",
    "container_pressure_io_waiting_seconds_total",
    "container_pressure_memory_stalled_seconds_total",
    "container_pressure_memory_waiting_seconds_total",
    "container_spec_cpu_quota",
    "container_spec_memory_reservation_limit_bytes",
    "container_ulimits_soft",
]

STALLED = Pressure(
    some=Stall(total=3_500_000, avg10=0, avg60=0, avg300=0),
    full=Stall(total=2_500_000, avg10=0, avg60=0, avg300=0),
)
COUNTERS = Counters(
    timestamp=5_000_000_000,
    cpu_usage=9_900_000_000,
    cpu_user=6_000_000_000,
    cpu_system=3_000_000_000,
    cpu_pressure=STALLED,
    memory_usage=500,
    memory_working_set=400,
    memory_rss=300,
    memory_limit=1000,
    memory_pressure=STALLED,
    swap_usage=10,
    swap_limit=100,
    page_faults=7,
    major_page_faults=1,
    io_pressure=STALLED,
    pids=3,
    extra={
        "cpu_cfs_periods": 11,
        "cpu_cfs_throttled_periods": 12,
        "cpu_cfs_throttled_ns": 13_000_000_000,
        "cpu_shares": 512,
        "cpu_quota": 20000,
        "cpu_period": 100000,
        "memory_cache": 21,
        "memory_mapped_file": 22,
        "memory_kernel_usage": 23,
        "memory_max_usage": 24,
        "memory_failcnt": 25,
        "memory_reservation": 26,
        "oom_kills": 27,
        "pids_max": 28,
    },
    devices=(DeviceIo(major=8, minor=0, read_bytes=1, written_bytes=2, reads=3, writes=4),),
    hugepages=(Hugepages(page_size="2MB", usage=31, max_usage=32),),
)
STATS = replace(CONTAINER, sample=Sample(counters=COUNTERS))
DETAILS = ContainerDetails(
    stats=STATS,
    cgroup="/pod/c1",
    processes=2,
    files=Files(descriptors=41, sockets=42, soft_limit=43),
)
POD = SandboxStats(
    sandbox=SANDBOX,
    sample=Sample(counters=replace(COUNTERS, cpu_usage=20_000_000_000)),
    network=Network(timestamp=6_000_000_000, interfaces=(ETH0,)),
    processes=3,
    containers=(STATS,),
)
AROUND = metrics.Surroundings(
    filesystem=Filesystem(
        mountpoint="/snapshots", device="/dev/vda1", size=51, inodes=52, inodes_free=53
    ),
    device=lambda major, minor: f"/dev/sd{major}{minor}",
    cgroup=lambda _: "/pod",
)
BASE = ("main", "/pod/c1", "n", "c1", "ns", "web")
OF_POD = ("", "/pod", "", "s1", "ns", "web")

Told = dict[tuple[str, ...], int]


def told(messages: Iterable[pb.Metric]) -> dict[str, Told]:
    """Return the values by name and own labels."""
    found: dict[str, Told] = {}
    for one in messages:
        own = tuple(one.label_values[len(BASE_LABELS) :])
        assert own not in found.setdefault(one.name, {})
        found[one.name][own] = one.value.value
    return found


def container(details: ContainerDetails = DETAILS) -> dict[str, Told]:
    return told(metrics.container_metrics_to(details, SANDBOX, AROUND).metrics)


def everything() -> list[pb.Metric]:
    """Return the metrics of the pod and its container."""
    of_pod = metrics.pod_metrics_to(POD, AROUND)
    of_container = metrics.container_metrics_to(DETAILS, SANDBOX, AROUND)
    return [*of_pod.metrics, *of_container.metrics]


def test_the_metrics_are_those_that_clients_know() -> None:
    assert sorted(family.name for family in FAMILIES) == sorted([*MANDATORY, *OPTIONAL])
    assert (len(MANDATORY), len(OPTIONAL)) == (45, 11)


def test_every_metric_is_described_once_with_as_many_keys_as_values() -> None:
    keys = {one.name: list(one.label_keys) for one in metrics.descriptors()}
    assert len(keys) == len(FAMILIES) == 56
    assert all(one.help for one in metrics.descriptors())
    for one in everything():
        assert len(one.label_values) == len(keys[one.name])


def test_together_a_pod_and_its_container_have_all_of_them() -> None:
    assert {one.name for one in everything()} == {family.name for family in FAMILIES}


def test_no_two_have_the_same_name_and_labels() -> None:
    """Prometheus would refuse them all."""
    tally = Tally((one.name, *one.label_values) for one in everything())
    assert set(tally.values()) == {1}


def test_labels_say_who_it_is() -> None:
    of_pod = metrics.pod_metrics_to(POD, AROUND)
    assert of_pod.pod_sandbox_id == "s1"
    assert {tuple(one.label_values[:6]) for one in of_pod.metrics} == {OF_POD}
    of_container = metrics.container_metrics_to(DETAILS, SANDBOX, AROUND)
    assert of_container.container_id == "c1"
    assert {tuple(one.label_values[:6]) for one in of_container.metrics} == {BASE}


def test_values_of_a_container() -> None:
    found = container()
    assert found["container_cpu_usage_seconds_total"] == {("total",): 9}
    assert found["container_cpu_user_seconds_total"] == {(): 6}
    assert found["container_cpu_system_seconds_total"] == {(): 3}
    assert found["container_cpu_cfs_throttled_seconds_total"] == {(): 13}
    assert found["container_memory_working_set_bytes"] == {(): 400}
    assert found["container_memory_swap"] == {(): 10}
    assert found["container_memory_failures_total"] == {
        ("pgfault", "container"): 7,
        ("pgmajfault", "container"): 1,
    }
    assert found["container_oom_events_total"] == {(): 27}
    assert found["container_hugetlb_usage_bytes"] == {("2MB",): 31}
    assert found["container_hugetlb_max_usage_bytes"] == {("2MB",): 32}
    for resource in ("cpu", "memory", "io"):
        assert found[f"container_pressure_{resource}_waiting_seconds_total"] == {(): 3}
        assert found[f"container_pressure_{resource}_stalled_seconds_total"] == {(): 2}
    assert found["container_fs_reads_bytes_total"] == {("/dev/sd80",): 1}
    assert found["container_fs_writes_bytes_total"] == {("/dev/sd80",): 2}
    assert found["container_fs_reads_total"] == {("/dev/sd80",): 3}
    assert found["container_fs_writes_total"] == {("/dev/sd80",): 4}
    assert found["container_blkio_device_usage_total"] == {
        ("/dev/sd80", "8", "0", "Read"): 1,
        ("/dev/sd80", "8", "0", "Write"): 2,
    }
    assert found["container_fs_usage_bytes"] == {("/dev/vda1",): 4096}
    assert found["container_fs_limit_bytes"] == {("/dev/vda1",): 51}
    assert found["container_fs_inodes_total"] == {("/dev/vda1",): 52}
    assert found["container_fs_inodes_free"] == {("/dev/vda1",): 53}
    assert found["container_processes"] == {(): 2}
    assert found["container_threads"] == {(): 3}
    assert found["container_threads_max"] == {(): 28}
    assert found["container_file_descriptors"] == {(): 41}
    assert found["container_sockets"] == {(): 42}
    assert found["container_ulimits_soft"] == {("max_open_files",): 43}
    assert found["container_spec_cpu_period"] == {(): 100000}
    assert found["container_spec_cpu_quota"] == {(): 20000}
    assert found["container_spec_cpu_shares"] == {(): 512}
    assert found["container_spec_memory_limit_bytes"] == {(): 1000}
    assert found["container_spec_memory_reservation_limit_bytes"] == {(): 26}
    assert found["container_spec_memory_swap_limit_bytes"] == {(): 100}
    assert found["container_last_seen"] == {(): 5}
    assert found["container_start_time_seconds"] == {(): 0}


def test_the_network_is_the_pods() -> None:
    message = metrics.pod_metrics_to(POD, AROUND)
    found = told(message.metrics)
    assert found["container_network_receive_bytes_total"] == {("eth0",): 100}
    assert found["container_network_receive_packets_total"] == {("eth0",): 10}
    assert found["container_network_receive_errors_total"] == {("eth0",): 1}
    assert found["container_network_receive_packets_dropped_total"] == {("eth0",): 2}
    assert found["container_network_transmit_bytes_total"] == {("eth0",): 200}
    assert found["container_network_transmit_packets_total"] == {("eth0",): 20}
    assert found["container_network_transmit_errors_total"] == {("eth0",): 3}
    assert found["container_network_transmit_packets_dropped_total"] == {("eth0",): 4}
    assert found["container_cpu_usage_seconds_total"] == {("total",): 20}
    assert found["container_processes"] == {(): 3}
    assert "container_file_descriptors" not in found
    assert not any(name.startswith("container_network") for name in container())


def test_what_the_kernel_does_not_tell_is_left_out() -> None:
    bare = Counters(timestamp=1_000_000_000)
    stats = replace(STATS, sample=Sample(counters=bare), layer=None)
    found = container(ContainerDetails(stats=stats, cgroup="/c"))
    assert set(found) == {
        "container_fs_limit_bytes",
        "container_fs_inodes_total",
        "container_fs_inodes_free",
        "container_last_seen",
        "container_start_time_seconds",
    }


def test_no_limit_is_zero_where_that_is_what_zero_means() -> None:
    free = replace(COUNTERS, memory_limit=None, swap_limit=None, extra={"cpu_quota": -1})
    found = container(replace(DETAILS, stats=replace(STATS, sample=Sample(counters=free))))
    assert found["container_spec_memory_limit_bytes"] == {(): 0}
    assert found["container_threads_max"] == {(): 0}
    assert "container_spec_cpu_quota" not in found
    assert "container_spec_memory_swap_limit_bytes" not in found


def test_shares_on_v2_are_those_that_were_asked_for() -> None:
    status = STATS.status
    resources = replace(status.container.resources, cpu_shares=102)
    given = replace(status, container=replace(status.container, resources=resources))
    stats = replace(
        STATS, status=given, sample=Sample(counters=replace(COUNTERS, extra={"cpu_weight": 4}))
    )
    assert container(replace(DETAILS, stats=stats))["container_spec_cpu_shares"] == {(): 102}


def test_counters_are_counters() -> None:
    kinds = {family.name: family.kind for family in FAMILIES}
    totals = {name for name in kinds if name.endswith("_total")}
    counters = {name for name, kind in kinds.items() if kind == pb.COUNTER}
    assert totals - counters == {"container_fs_inodes_total"}
    assert counters - totals == {"container_memory_failcnt"}


def test_facts_without_anything_tell_nothing() -> None:
    assert [list(family.read(Facts())) for family in FAMILIES] == [[] for _ in FAMILIES]
