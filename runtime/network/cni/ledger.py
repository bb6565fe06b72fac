"""What pods have by CNI, in memory and on disk at the same time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from runtime.network import AttachRequest, PortMapping
from runtime.network.addresses import parse_subnets
from runtime.network.cni import Chosen, Plugin, requests
from runtime.network.cni.results import Result
from runtime.network.ledger import PodRange
from runtime.network.ports import PortTable, normalized
from store.errors import AlreadyExistsError, FailedPreconditionError
from store.metadata import Records

_KEY: Final = "cni"
_RANGE: Final = "range"
_RANGES: Final = "ipRanges"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CniPod:
    """What one pod was connected with; the record that disconnects it.

    The configuration is as it was at the ADD, whatever the directory holds since. `result` is the
    chain's, empty until all plugins have succeeded.
    """

    network: str
    version: str
    plugins: tuple[Plugin, ...]
    netns: str
    arguments: str = ""
    capabilities: str = "{}"
    ports: tuple[PortMapping, ...] = ()
    checks: bool = True
    result: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CniRecords:
    """The tables of the CNI network, keyed by ("cni", sandbox id) and ("cni", "range")."""

    pods: Records[CniPod]
    ranges: Records[PodRange]


def plain(chosen: Chosen, netns: str = "") -> CniPod:
    """Return a pod of which nothing is known but that `chosen` may have connected it."""
    configuration = chosen.configuration
    return CniPod(
        network=configuration.name,
        version=chosen.version,
        plugins=configuration.plugins,
        checks=configuration.checks,
        netns=netns,
    )


class CniLedger:
    """The pods that plugins connected, their host ports, and the node's pod ranges."""

    def __init__(self, records: CniRecords) -> None:
        self._records = records
        self._ports = PortTable()

    def __repr__(self) -> str:
        return f"<CniLedger: {len(self.pods())} pods, {len(self._ports)} ports>"

    @property
    def ranges(self) -> tuple[str, ...]:
        """The pod ranges that Kubernetes told, none if it has not."""
        known = self._records.ranges.find(_KEY, _RANGE)
        return known.subnets if known else ()

    def pods(self) -> dict[str, CniPod]:
        """Return every pod, by sandbox id."""
        return {id_: pod for _, id_, pod in self._records.pods.walk(_KEY)}

    def find(self, sandbox_id: str) -> CniPod | None:
        """Return what a sandbox has."""
        return self._records.pods.find(_KEY, sandbox_id)

    def reserve(self, request: AttachRequest, chosen: Chosen) -> CniPod:
        """Record that a pod's ADD begins, with its host ports taken, or nothing.

        Raises:
            AlreadyExistsError: the sandbox is on record, or a port is taken.
            InvalidArgumentError: a port mapping, an annotation or a name can not be.
        """
        id_ = request.sandbox_id
        if self.find(id_) is not None:
            raise AlreadyExistsError(f"cannot connect sandbox {id_}: it is connected")
        ports = normalized(request.ports)
        pod = replace(
            plain(chosen, str(request.netns)),
            arguments=requests.arguments(request),
            capabilities=requests.capabilities(request, ports, self.ranges),
            ports=ports,
        )
        self._ports.reserve(id_, ports)
        try:
            self._records.pods.add(_KEY, id_, pod)
        except BaseException:
            self._ports.release(id_)
            raise
        return pod

    def complete(self, sandbox_id: str, result: Result) -> None:
        """Record what a pod's ADD came to."""
        self._records.pods.update(
            _KEY,
            sandbox_id,
            lambda pod: replace(pod, result=result.document, addresses=result.addresses),
        )

    def release(self, sandbox_id: str) -> None:
        """Forget a pod and free its host ports; nothing if it is not known."""
        try:
            self._records.pods.delete(_KEY, sandbox_id)
        finally:
            self._ports.release(sandbox_id)

    def adopt(self) -> None:
        """Take the host ports that the records say as given out: once, at start."""
        for id_, pod in self.pods().items():
            try:
                self._ports.reserve(id_, pod.ports)
            except AlreadyExistsError as error:
                _log.warning("recovery: %s", error)

    def move(self, cidr: str, plugins: Sequence[Plugin]) -> None:
        """Keep the node's pod ranges, across restarts.

        Raises:
            InvalidArgumentError: not one or two comma-separated networks.
            FailedPreconditionError: `plugins` take their ranges from here, and pods hold addresses.
        """
        ranges = tuple(map(str, parse_subnets(cidr.split(","), "pod_cidr")))
        if ranges == self.ranges:
            return
        if self.pods() and any(_RANGES in plugin.capabilities for plugin in plugins):
            present = ", ".join(self.ranges) or "another range"
            raise FailedPreconditionError(
                f"cannot use pod_cidr {cidr}: pods hold addresses of {present}"
            )
        self._records.ranges.put(_KEY, _RANGE, PodRange(subnets=ranges))
