"""Metrics of pods and containers as messages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.facts import Facts
from cri.convert.families import BASE_LABELS, FAMILIES
from runtime.pods import Sandbox
from runtime.stats import ContainerDetails, Filesystem, SandboxStats


def descriptors() -> list[pb.MetricDescriptor]:
    """Return what describes each metric there may be."""
    return [
        pb.MetricDescriptor(
            name=family.name, help=family.help, label_keys=[*BASE_LABELS, *family.labels]
        )
        for family in FAMILIES
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all pods have in common: the filesystem they write to, names of devices and cgroups."""

    filesystem: Filesystem
    device: Callable[[int, int], str]
    cgroup: Callable[[Sandbox], str]


def pod_metrics_to(stats: SandboxStats, around: Surroundings) -> pb.PodSandboxMetrics:
    """Return the metrics of one pod as a whole; container and image are empty in their labels."""
    pod = stats.sandbox
    metadata = pod.config.metadata
    labels = ("", around.cgroup(pod), "", pod.id, metadata.namespace, metadata.name)
    facts = Facts(
        counters=stats.sample.counters if stats.sample else None,
        processes=stats.processes,
        network=stats.network,
        device=around.device,
    )
    return pb.PodSandboxMetrics(pod_sandbox_id=pod.id, metrics=_metrics(facts, labels))


def container_metrics_to(
    details: ContainerDetails, pod: Sandbox, around: Surroundings
) -> pb.ContainerMetrics:
    """Return the metrics of one container of a pod."""
    status, sample = details.stats.status, details.stats.sample
    metadata = pod.config.metadata
    labels = (
        status.container.config.metadata.name,
        details.cgroup,
        status.container.image_name,
        status.id,
        metadata.namespace,
        metadata.name,
    )
    facts = Facts(
        counters=sample.counters if sample else None,
        processes=details.processes,
        details=details,
        filesystem=around.filesystem,
        device=around.device,
    )
    return pb.ContainerMetrics(container_id=status.id, metrics=_metrics(facts, labels))


def _metrics(facts: Facts, labels: tuple[str, ...]) -> Iterator[pb.Metric]:
    """Yield every metric there is a value for, each at the time of the reading it is from."""
    timestamp = facts.counters.timestamp if facts.counters else 0
    for family in FAMILIES:
        for own, number in family.read(facts):
            yield pb.Metric(
                name=family.name,
                timestamp=timestamp,
                metric_type=family.kind,
                label_values=(*labels, *own),
                value=pb.UInt64Value(value=number),
            )
