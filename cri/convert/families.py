"""The metrics of containers and pods: name, meaning, kind, and where each value comes from.

Names and labels are those that cAdvisor gave /metrics/cadvisor, so that dashboards and rules go
on. Values are whole numbers in CRI, so times are whole seconds.
"""

from dataclasses import dataclass
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.facts import (
    Read,
    blkio,
    cpu_quota,
    cpu_shares,
    extra,
    files,
    filesystem,
    hugepages,
    interfaces,
    io,
    last_seen,
    layer,
    memory_limit,
    of,
    page_faults,
    processes,
    seconds,
    stalled,
    started,
    threads_max,
)

BASE_LABELS: Final = ("container", "id", "image", "name", "namespace", "pod")
"""The labels that every metric has: the container's name, cgroup, image and id, and its pod's."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `labels` are its own keys, which follow the base ones."""

    name: str
    help: str
    kind: pb.MetricType.ValueType
    read: Read
    labels: tuple[str, ...] = ()


FAMILIES: Final = (
    # CPU
    Family(
        "container_cpu_usage_seconds_total",
        "CPU time used, in seconds.",
        pb.COUNTER,
        of(lambda counters: seconds(counters.cpu_usage), "total"),
        ("cpu",),
    ),
    Family(
        "container_cpu_user_seconds_total",
        "CPU time used by programs themselves, in seconds.",
        pb.COUNTER,
        of(lambda counters: seconds(counters.cpu_user)),
    ),
    Family(
        "container_cpu_system_seconds_total",
        "CPU time used by the kernel on behalf of programs, in seconds.",
        pb.COUNTER,
        of(lambda counters: seconds(counters.cpu_system)),
    ),
    Family(
        "container_cpu_cfs_periods_total",
        "Periods in which the CPU quota was enforced.",
        pb.COUNTER,
        extra("cpu_cfs_periods"),
    ),
    Family(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the CPU quota was used up.",
        pb.COUNTER,
        extra("cpu_cfs_throttled_periods"),
    ),
    Family(
        "container_cpu_cfs_throttled_seconds_total",
        "Time spent waiting for the next period with the CPU quota used up, in seconds.",
        pb.COUNTER,
        of(lambda counters: seconds(counters.extra.get("cpu_cfs_throttled_ns"))),
    ),
    # Memory
    Family(
        "container_memory_usage_bytes",
        "Memory in use with caches, in bytes.",
        pb.GAUGE,
        of(lambda counters: counters.memory_usage),
    ),
    Family(
        "container_memory_working_set_bytes",
        "Memory in use without file pages that were not used lately, in bytes.",
        pb.GAUGE,
        of(lambda counters: counters.memory_working_set),
    ),
    Family(
        "container_memory_rss",
        "Anonymous memory, in bytes.",
        pb.GAUGE,
        of(lambda counters: counters.memory_rss),
    ),
    Family(
        "container_memory_cache",
        "File pages in memory, in bytes.",
        pb.GAUGE,
        extra("memory_cache"),
    ),
    Family(
        "container_memory_mapped_file",
        "File pages that are mapped by programs, in bytes.",
        pb.GAUGE,
        extra("memory_mapped_file"),
    ),
    Family(
        "container_memory_kernel_usage",
        "Memory of the kernel's own on behalf of programs, in bytes.",
        pb.GAUGE,
        extra("memory_kernel_usage"),
    ),
    Family(
        "container_memory_swap",
        "Swap in use, in bytes.",
        pb.GAUGE,
        of(lambda counters: counters.swap_usage),
    ),
    Family(
        "container_memory_max_usage_bytes",
        "The most memory that was in use at one time, in bytes.",
        pb.GAUGE,
        extra("memory_max_usage"),
    ),
    Family(
        "container_memory_failcnt",
        "How often memory use met its limit.",
        pb.COUNTER,
        extra("memory_failcnt"),
    ),
    Family(
        "container_memory_failures_total",
        "Page faults: all (pgfault), and those that had to read from disk (pgmajfault).",
        pb.COUNTER,
        page_faults,
        ("failure_type", "scope"),
    ),
    Family(
        "container_oom_events_total",
        "Processes that the kernel killed for lack of memory.",
        pb.COUNTER,
        extra("oom_kills"),
    ),
    # Huge pages
    Family(
        "container_hugetlb_usage_bytes",
        "Huge pages in use, in bytes.",
        pb.GAUGE,
        hugepages(lambda pages: pages.usage),
        ("pagesize",),
    ),
    Family(
        "container_hugetlb_max_usage_bytes",
        "The most huge pages that were in use at one time, in bytes.",
        pb.GAUGE,
        hugepages(lambda pages: pages.max_usage),
        ("pagesize",),
    ),
    # Pressure
    Family(
        "container_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a CPU, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.cpu_pressure, lambda of: of.some),
    ),
    Family(
        "container_pressure_cpu_stalled_seconds_total",
        "Time in which all tasks waited for a CPU, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.cpu_pressure, lambda of: of.full),
    ),
    Family(
        "container_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.memory_pressure, lambda of: of.some),
    ),
    Family(
        "container_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.memory_pressure, lambda of: of.full),
    ),
    Family(
        "container_pressure_io_waiting_seconds_total",
        "Time in which some task waited for a disk, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.io_pressure, lambda of: of.some),
    ),
    Family(
        "container_pressure_io_stalled_seconds_total",
        "Time in which all tasks waited for a disk, in seconds.",
        pb.COUNTER,
        stalled(lambda counters: counters.io_pressure, lambda of: of.full),
    ),
    # Disks
    Family(
        "container_fs_reads_bytes_total",
        "Bytes read from a block device.",
        pb.COUNTER,
        io(lambda device: device.read_bytes),
        ("device",),
    ),
    Family(
        "container_fs_reads_total",
        "Requests that read from a block device.",
        pb.COUNTER,
        io(lambda device: device.reads),
        ("device",),
    ),
    Family(
        "container_fs_writes_bytes_total",
        "Bytes written to a block device.",
        pb.COUNTER,
        io(lambda device: device.written_bytes),
        ("device",),
    ),
    Family(
        "container_fs_writes_total",
        "Requests that write to a block device.",
        pb.COUNTER,
        io(lambda device: device.writes),
        ("device",),
    ),
    Family(
        "container_blkio_device_usage_total",
        "Bytes read from or written to a block device, by operation.",
        pb.COUNTER,
        blkio,
        ("device", "major", "minor", "operation"),
    ),
    Family(
        "container_fs_usage_bytes",
        "What the container has written outside of volumes, in bytes.",
        pb.GAUGE,
        layer,
        ("device",),
    ),
    Family(
        "container_fs_limit_bytes",
        "Size of the filesystem that the container writes to, in bytes.",
        pb.GAUGE,
        filesystem(lambda filesystem: filesystem.size),
        ("device",),
    ),
    Family(
        "container_fs_inodes_total",
        "Inodes of the filesystem that the container writes to.",
        pb.GAUGE,
        filesystem(lambda filesystem: filesystem.inodes),
        ("device",),
    ),
    Family(
        "container_fs_inodes_free",
        "Free inodes of the filesystem that the container writes to.",
        pb.GAUGE,
        filesystem(lambda filesystem: filesystem.inodes_free),
        ("device",),
    ),
    # Network, of pods
    Family(
        "container_network_receive_bytes_total",
        "Bytes received.",
        pb.COUNTER,
        interfaces(lambda one: one.rx_bytes),
        ("interface",),
    ),
    Family(
        "container_network_receive_packets_total",
        "Packets received.",
        pb.COUNTER,
        interfaces(lambda one: one.rx_packets),
        ("interface",),
    ),
    Family(
        "container_network_receive_packets_dropped_total",
        "Packets dropped on receipt.",
        pb.COUNTER,
        interfaces(lambda one: one.rx_dropped),
        ("interface",),
    ),
    Family(
        "container_network_receive_errors_total",
        "Errors on receipt.",
        pb.COUNTER,
        interfaces(lambda one: one.rx_errors),
        ("interface",),
    ),
    Family(
        "container_network_transmit_bytes_total",
        "Bytes sent.",
        pb.COUNTER,
        interfaces(lambda one: one.tx_bytes),
        ("interface",),
    ),
    Family(
        "container_network_transmit_packets_total",
        "Packets sent.",
        pb.COUNTER,
        interfaces(lambda one: one.tx_packets),
        ("interface",),
    ),
    Family(
        "container_network_transmit_packets_dropped_total",
        "Packets dropped on sending.",
        pb.COUNTER,
        interfaces(lambda one: one.tx_dropped),
        ("interface",),
    ),
    Family(
        "container_network_transmit_errors_total",
        "Errors on sending.",
        pb.COUNTER,
        interfaces(lambda one: one.tx_errors),
        ("interface",),
    ),
    # Processes
    Family(
        "container_processes",
        "Processes that run.",
        pb.GAUGE,
        processes,
    ),
    Family(
        "container_threads",
        "Threads that run, in all processes.",
        pb.GAUGE,
        of(lambda counters: counters.pids),
    ),
    Family(
        "container_threads_max",
        "Threads that may run; 0 is no limit.",
        pb.GAUGE,
        of(threads_max),
    ),
    Family(
        "container_file_descriptors",
        "Open file descriptors, in all processes.",
        pb.GAUGE,
        files(lambda opened: opened.descriptors),
    ),
    Family(
        "container_sockets",
        "File descriptors of sockets, in all processes.",
        pb.GAUGE,
        files(lambda opened: opened.sockets),
    ),
    Family(
        "container_ulimits_soft",
        "Soft resource limit of the first process.",
        pb.GAUGE,
        files(lambda opened: opened.soft_limit, "max_open_files"),
        ("ulimit",),
    ),
    # What was asked for
    Family(
        "container_spec_cpu_period",
        "Period of the CPU quota, in microseconds.",
        pb.GAUGE,
        extra("cpu_period"),
    ),
    Family(
        "container_spec_cpu_quota",
        "CPU time allowed in each period, in microseconds.",
        pb.GAUGE,
        cpu_quota,
    ),
    Family(
        "container_spec_cpu_shares",
        "Weight among others that want a CPU, 1024 for one CPU.",
        pb.GAUGE,
        cpu_shares,
    ),
    Family(
        "container_spec_memory_limit_bytes",
        "Memory limit in bytes; 0 is no limit.",
        pb.GAUGE,
        of(memory_limit),
    ),
    Family(
        "container_spec_memory_reservation_limit_bytes",
        "Memory that is spared when others need some, in bytes.",
        pb.GAUGE,
        extra("memory_reservation"),
    ),
    Family(
        "container_spec_memory_swap_limit_bytes",
        "Swap that may be used beside memory, in bytes.",
        pb.GAUGE,
        of(lambda counters: counters.swap_limit),
    ),
    # Times
    Family(
        "container_last_seen",
        "When it was last looked at, in seconds of Unix time.",
        pb.GAUGE,
        last_seen,
    ),
    Family(
        "container_start_time_seconds",
        "When it was started, in seconds of Unix time.",
        pb.GAUGE,
        started,
    ),
)
"""All of them."""
