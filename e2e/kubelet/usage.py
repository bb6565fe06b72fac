"""What a kubelet tells of use, as far as the tests look at it."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from prometheus_client.parser import text_string_to_metric_families


class _Struct(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A JSON object in which unknown fields are ignored."""


class Cpu(_Struct, frozen=True):
    """Processor time."""

    usage_core_nano_seconds: int | None = None
    usage_nano_cores: int | None = None


class Memory(_Struct, frozen=True):
    """Bytes of memory."""

    usage_bytes: int | None = None
    working_set_bytes: int | None = None
    rss_bytes: int | None = None


class Files(_Struct, frozen=True):
    """Bytes and inodes of a filesystem."""

    used_bytes: int | None = None
    capacity_bytes: int | None = None
    inodes_used: int | None = None


class Container(_Struct, frozen=True):
    """What a container uses."""

    name: str
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    rootfs: Files = Files()
    logs: Files = Files()


class Interface(_Struct, frozen=True):
    """Bytes over an interface."""

    name: str = ""
    rx_bytes: int | None = None
    tx_bytes: int | None = None


class Processes(_Struct, frozen=True):
    """How many there are."""

    process_count: int | None = msgspec.field(name="process_count", default=None)


class Reference(_Struct, frozen=True):
    """Whose use it is."""

    name: str


class Pod(_Struct, frozen=True):
    """What a pod uses; without network where the kubelet has to find that by itself."""

    pod_ref: Reference
    containers: Sequence[Container] = ()
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    network: Interface | None = None
    process_stats: Processes = msgspec.field(name="process_stats", default=Processes())


class Runtime(_Struct, frozen=True):
    """What the runtime uses."""

    image_fs: Files = Files()


class Machine(_Struct, frozen=True):
    """What the whole node uses."""

    runtime: Runtime = Runtime()


class Summary(_Struct, frozen=True):
    """The answer of /stats/summary."""

    node: Machine
    pods: Sequence[Pod] = ()

    def pod(self, name: str) -> Pod | None:
        """Return what is known of a pod."""
        return next((each for each in self.pods if each.pod_ref.name == name), None)


def samples(text: str, labels: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Yield name and value of the samples that have `labels` in the Prometheus text format."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                yield sample.name, sample.value
