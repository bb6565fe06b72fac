"""How a pod gets its addresses: the contract.

`Network.attach` gives the pinned network namespace of a sandbox its interfaces, addresses, routes
and host ports; `detach` takes all of it back and may be called at any time, any number of times,
also for a sandbox whose `attach` failed halfway or of which nothing is known. What was handed out
is on disk before it is used, so no address is given twice or lost across crashes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A host port that leads into the pod. `host_port` is never 0, `host_ip` may be empty (all)."""

    protocol: str
    container_port: int
    host_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """The contents of a pod's resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """One pod to connect. `netns` is the pinned namespace; the pod's names serve CNI and logs.

    Of the annotations a network reads `kubernetes.io/ingress-bandwidth` and `egress-bandwidth`.
    """

    sandbox_id: str
    netns: Path
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    ports: tuple[PortMapping, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    dns: DnsConfig = field(default_factory=DnsConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a pod got: its addresses without prefix length, the main one first."""

    addresses: tuple[str, ...]
    interface: str = "eth0"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatus:
    """Whether pods can be connected; `reason` is one CamelCase word, always set."""

    ready: bool
    reason: str
    message: str = ""


class Network(Protocol):
    """A way to connect pods: the built-in bridge or CNI."""

    async def attach(self, request: AttachRequest) -> Attachment:
        """Connect a pod; on an error or cancellation everything is undone.

        Raises:
            ResourceExhaustedError: no address is free; names the range.
            AlreadyExistsError: a host port is taken; names port, protocol and holder.
            InvalidArgumentError: a port mapping or a bandwidth can not be; names it.
            UnavailableError: the network is not ready; the text is the status.
        """
        ...

    async def detach(self, sandbox_id: str, netns: Path | None = None) -> None:
        """Give back addresses, ports and interfaces; unknown ids are no error.

        Called while the pod's namespace is still there, if it is: some plugins want to take from
        it what they had put in. `netns` is for sandboxes of which nothing is known.
        """
        ...

    async def recover(self, known: Collection[str]) -> None:
        """Once at start: set up what the node needs, free what belongs to no `known` sandbox.

        What can not be freed soon is freed later, without anybody asking.
        """
        ...

    def status(self) -> NetworkStatus:
        """Return whether pods can be connected now, from memory."""
        ...

    async def set_pod_cidr(self, cidr: str) -> None:
        """Take the node's pod range from Kubernetes; kept across restarts.

        Raises:
            InvalidArgumentError: not one or two (dual-stack, comma separated) networks.
            FailedPreconditionError: pods hold addresses of another range.
        """
        ...


class NodeNetwork(Network, Protocol):
    """A network as the daemon owns it: with its upkeep, and its end."""

    def holds(self, sandbox_id: str) -> bool:
        """Tell whether the sandbox is on record here."""
        ...

    async def maintain(self, every: float = 10.0) -> None:
        """Keep the network as it should be, looking every so many seconds, until cancelled."""
        ...

    async def close(self) -> None:
        """Give back what the daemon holds; pods stay connected."""
        ...
