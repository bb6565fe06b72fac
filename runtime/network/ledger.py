"""Who has which address and host port, in memory and on disk at the same time."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.network import AttachRequest, links, nat
from runtime.network.addresses import AddressPool, Subnet, parse_subnets
from runtime.network.bandwidth import parse_bandwidth
from runtime.network.ports import PortTable, normalized
from runtime.network.wires import PodLink
from store.errors import AlreadyExistsError, FailedPreconditionError
from store.metadata import Records

_RANGE: Final = "range"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRange:
    """The node's pod ranges as Kubernetes last told them; the record that keeps them."""

    subnets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecords:
    """The tables of the bridge network, keyed by (bridge, sandbox id) and (bridge, "range")."""

    pods: Records[PodLink]
    ranges: Records[PodRange]


class Ledger:
    """The addresses and host ports of one bridge's pods.

    Args:
        bridge: its name, under which the records are kept.
        records: what is on disk. A record is there before a reservation is used.
        subnets: the configured ranges; one told by `move` since then comes first.

    Raises:
        InvalidArgumentError: `subnets` are not one range, or one of each family.
    """

    def __init__(self, bridge: str, records: NetworkRecords, subnets: Sequence[str]) -> None:
        self._bridge = bridge
        self._records = records
        self._ports = PortTable()
        known = records.ranges.find(bridge, _RANGE)
        self._pools = _pools(known.subnets if known else subnets, "network.subnets")

    def __repr__(self) -> str:
        return f"<Ledger {self._bridge}: {self._pools}, {len(self._ports)} ports>"

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """The ranges that pods get addresses of."""
        return tuple(pool.subnet for pool in self._pools)

    def pods(self) -> dict[str, PodLink]:
        """Return what every sandbox has, by id."""
        return {id_: pod for _, id_, pod in self._records.pods.walk(self._bridge)}

    def find(self, sandbox_id: str) -> PodLink | None:
        """Return what a sandbox has."""
        return self._records.pods.find(self._bridge, sandbox_id)

    def reserve(self, request: AttachRequest) -> PodLink:
        """Give a pod its addresses and ports, on disk, or nothing.

        Raises:
            AlreadyExistsError: the sandbox has addresses, or a port is taken.
            InvalidArgumentError: a port mapping or a bandwidth can not be.
            ResourceExhaustedError: no address is free.
        """
        id_ = request.sandbox_id
        if self.find(id_) is not None:
            raise AlreadyExistsError(f"cannot connect sandbox {id_}: it is connected")
        ports = normalized(request.ports)
        bandwidth = parse_bandwidth(request.annotations)
        self._ports.reserve(id_, ports)
        addresses: list[str] = []
        try:
            addresses.extend(pool.allocate() for pool in self._pools)
            nat.host_ports(addresses, ports)
            link = links.link_name(self._bridge, id_)
            pod = PodLink(link=link, addresses=tuple(addresses), ports=ports, bandwidth=bandwidth)
            self._records.pods.add(self._bridge, id_, pod)
        except BaseException:
            self._free(id_, addresses)
            raise
        return pod

    def release(self, sandbox_id: str, pod: PodLink) -> bool:
        """Take back what a sandbox has; False if it no longer is `pod`."""
        if self.find(sandbox_id) != pod:
            return False
        self._records.pods.delete(self._bridge, sandbox_id)
        self._free(sandbox_id, pod.addresses)
        return True

    def adopt(self) -> None:
        """Take what the records say as given out: once, at start."""
        for id_, pod in self.pods().items():
            for pool in self._pools:
                for address in pod.addresses:
                    pool.take(address)
            try:
                self._ports.reserve(id_, pod.ports)
            except AlreadyExistsError as error:
                _log.warning("recovery: %s", error)

    def move(self, cidr: str) -> bool:
        """Use other ranges from now on, across restarts; False if they are those in use.

        Raises:
            InvalidArgumentError: not one or two comma-separated networks.
            FailedPreconditionError: pods hold addresses.
        """
        subnets = parse_subnets(cidr.split(","), "pod_cidr")
        if subnets == self.subnets:
            return False
        if self.pods():
            present = ", ".join(map(str, self.subnets))
            raise FailedPreconditionError(
                f"cannot use pod_cidr {cidr}: pods hold addresses of {present}"
            )
        texts = tuple(map(str, subnets))
        self._records.ranges.put(self._bridge, _RANGE, PodRange(subnets=texts))
        self._pools = _pools(texts, "pod_cidr")
        return True

    def clear(self) -> None:
        """Forget all of it."""
        for id_, pod in self.pods().items():
            self.release(id_, pod)
        self._records.ranges.delete(self._bridge, _RANGE)

    def _free(self, sandbox_id: str, addresses: Iterable[str]) -> None:
        self._ports.release(sandbox_id)
        for address in addresses:
            for pool in self._pools:
                pool.free(address)


def _pools(subnets: Sequence[str], field: str) -> tuple[AddressPool, ...]:
    return tuple(AddressPool(subnet) for subnet in parse_subnets(subnets, field))
