"""Statistics: what is not known stays unset, for 0 is a value."""

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.container import container_metadata_to
from cri.convert.sandbox import sandbox_metadata_to
from runtime.cgroups import Pressure, Stall
from runtime.pods import Filter
from runtime.stats import ContainerStats, Interface, Network, Sample, SandboxStats


def container_stats_filter_from(message: pb.ContainerStatsFilter) -> Filter:
    """Return whose statistics are asked for; an empty filter matches all."""
    return Filter(
        id=message.id,
        sandbox_id=message.pod_sandbox_id,
        labels=dict(message.label_selector),
    )


def sandbox_stats_filter_from(message: pb.PodSandboxStatsFilter) -> Filter:
    """Return which pods' statistics are asked for; an empty filter matches all."""
    return Filter(id=message.id, labels=dict(message.label_selector))


def container_stats_to(stats: ContainerStats, mountpoint: str) -> pb.ContainerStats:
    """Return one container's statistics; `mountpoint` is where its layer lies."""
    config, sample = stats.status.container.config, stats.sample
    return pb.ContainerStats(
        attributes=pb.ContainerAttributes(
            id=stats.status.id,
            metadata=container_metadata_to(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        ),
        cpu=_cpu(sample) if sample else None,
        memory=_memory(sample) if sample else None,
        writable_layer=_layer(stats, mountpoint),
        swap=_swap(sample) if sample else None,
        io=_io(sample) if sample else None,
    )


def sandbox_stats_to(stats: SandboxStats, mountpoint: str) -> pb.PodSandboxStats:
    """Return one pod's statistics with those of its containers."""
    config, sample = stats.sandbox.config, stats.sample
    return pb.PodSandboxStats(
        attributes=pb.PodSandboxAttributes(
            id=stats.sandbox.id,
            metadata=sandbox_metadata_to(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        ),
        linux=pb.LinuxPodSandboxStats(
            cpu=_cpu(sample) if sample else None,
            memory=_memory(sample) if sample else None,
            network=_network(stats.network),
            process=_process(stats, sample) if sample else None,
            containers=[container_stats_to(one, mountpoint) for one in stats.containers],
            io=_io(sample) if sample else None,
        ),
    )


def _value(number: int | None) -> pb.UInt64Value | None:
    return None if number is None else pb.UInt64Value(value=number)


def _left(limit: int | None, used: int | None) -> pb.UInt64Value | None:
    """Return what is left of a limit; unset without one."""
    return None if limit is None or used is None else pb.UInt64Value(value=max(0, limit - used))


def _cpu(sample: Sample) -> pb.CpuUsage | None:
    counters = sample.counters
    if counters.cpu_usage is None:
        return None
    return pb.CpuUsage(
        timestamp=counters.timestamp,
        usage_core_nano_seconds=_value(counters.cpu_usage),
        usage_nano_cores=_value(sample.nano_cores),
        psi=_pressure(counters.cpu_pressure),
    )


def _memory(sample: Sample) -> pb.MemoryUsage | None:
    counters = sample.counters
    if counters.memory_usage is None:
        return None
    return pb.MemoryUsage(
        timestamp=counters.timestamp,
        working_set_bytes=_value(counters.memory_working_set),
        available_bytes=_left(counters.memory_limit, counters.memory_working_set),
        usage_bytes=_value(counters.memory_usage),
        rss_bytes=_value(counters.memory_rss),
        page_faults=_value(counters.page_faults),
        major_page_faults=_value(counters.major_page_faults),
        psi=_pressure(counters.memory_pressure),
    )


def _swap(sample: Sample) -> pb.SwapUsage | None:
    counters = sample.counters
    if counters.swap_usage is None:
        return None
    return pb.SwapUsage(
        timestamp=counters.timestamp,
        swap_available_bytes=_left(counters.swap_limit, counters.swap_usage),
        swap_usage_bytes=_value(counters.swap_usage),
    )


def _io(sample: Sample) -> pb.IoUsage | None:
    counters = sample.counters
    if counters.io_pressure is None:
        return None
    return pb.IoUsage(timestamp=counters.timestamp, psi=_pressure(counters.io_pressure))


def _pressure(pressure: Pressure | None) -> pb.PsiStats | None:
    if pressure is None:
        return None
    return pb.PsiStats(Full=_stall(pressure.full), Some=_stall(pressure.some))


def _stall(stall: Stall | None) -> pb.PsiData | None:
    if stall is None:
        return None
    return pb.PsiData(Total=stall.total, Avg10=stall.avg10, Avg60=stall.avg60, Avg300=stall.avg300)


def _layer(stats: ContainerStats, mountpoint: str) -> pb.FilesystemUsage | None:
    if stats.layer is None:
        return None
    return pb.FilesystemUsage(
        timestamp=stats.layer.timestamp,
        fs_id=pb.FilesystemIdentifier(mountpoint=mountpoint),
        used_bytes=_value(stats.layer.bytes),
        inodes_used=_value(stats.layer.inodes),
    )


def _process(stats: SandboxStats, sample: Sample) -> pb.ProcessUsage:
    return pb.ProcessUsage(
        timestamp=sample.counters.timestamp, process_count=_value(stats.processes)
    )


def _network(network: Network | None) -> pb.NetworkUsage | None:
    """Return the main interface and the others; the kubelet takes no network without a main one."""
    if network is None or not network.interfaces:
        return None
    main, *others = (_interface(one) for one in network.interfaces)
    return pb.NetworkUsage(timestamp=network.timestamp, default_interface=main, interfaces=others)


def _interface(one: Interface) -> pb.NetworkInterfaceUsage:
    return pb.NetworkInterfaceUsage(
        name=one.name,
        rx_bytes=_value(one.rx_bytes),
        rx_errors=_value(one.rx_errors),
        tx_bytes=_value(one.tx_bytes),
        tx_errors=_value(one.tx_errors),
    )
