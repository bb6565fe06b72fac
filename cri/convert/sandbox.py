"""Sandboxes: configuration, records and filters."""

import ipaddress

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.enums import PROTOCOLS, SANDBOX_STATES, known
from cri.convert.resources import resources_from
from cri.convert.security import namespaces_to, sandbox_security_from
from runtime.network import DnsConfig, PortMapping
from runtime.pods import Filter, Sandbox, SandboxConfig, SandboxMetadata, SandboxState
from runtime.spec import NamespaceMode
from store.errors import InvalidArgumentError

_PORTS = range(1, 65536)


def sandbox_config_from(message: pb.PodSandboxConfig, at: str = "config") -> SandboxConfig:
    """Return a sandbox's configuration; host ports of 0 are left out, as CRI wants."""
    linux = message.linux
    return SandboxConfig(
        metadata=_metadata_from(message.metadata),
        hostname=message.hostname,
        log_directory=message.log_directory,
        dns=_dns_from(message.dns_config) if message.HasField("dns_config") else None,
        ports=_ports_from(message, f"{at}.port_mappings"),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        cgroup_parent=linux.cgroup_parent,
        security=sandbox_security_from(linux.security_context, f"{at}.linux.security_context"),
        sysctls=dict(linux.sysctls),
        overhead=resources_from(linux.overhead),
        resources=resources_from(linux.resources),
    )


def sandbox_filter_from(message: pb.PodSandboxFilter) -> Filter:
    """Return what ListPodSandbox asks for; an empty filter matches all."""
    state = message.state.state
    return Filter(
        id=message.id,
        state=known(SANDBOX_STATES, state, "filter.state") if message.HasField("state") else "",
        labels=dict(message.label_selector),
    )


def sandbox_to(sandbox: Sandbox) -> pb.PodSandbox:
    """Return a sandbox as a list shows it."""
    return pb.PodSandbox(
        id=sandbox.id,
        metadata=sandbox_metadata_to(sandbox.config.metadata),
        state=_state_to(sandbox.state),
        created_at=sandbox.created_at,
        labels=sandbox.config.labels,
        annotations=sandbox.config.annotations,
        runtime_handler=sandbox.handler,
    )


def sandbox_status_to(sandbox: Sandbox) -> pb.PodSandboxStatus:
    """Return a sandbox as PodSandboxStatus shows it.

    The network message is always there; for a pod on the node's network it has no address.
    """
    modes = sandbox.config.security.namespaces
    return pb.PodSandboxStatus(
        id=sandbox.id,
        metadata=sandbox_metadata_to(sandbox.config.metadata),
        state=_state_to(sandbox.state),
        created_at=sandbox.created_at,
        network=_network_to(() if modes.network is NamespaceMode.NODE else sandbox.addresses),
        linux=pb.LinuxPodSandboxStatus(namespaces=pb.Namespace(options=namespaces_to(modes))),
        labels=sandbox.config.labels,
        annotations=sandbox.config.annotations,
        runtime_handler=sandbox.handler,
    )


def _metadata_from(message: pb.PodSandboxMetadata) -> SandboxMetadata:
    return SandboxMetadata(
        name=message.name,
        uid=message.uid,
        namespace=message.namespace,
        attempt=message.attempt,
    )


def sandbox_metadata_to(metadata: SandboxMetadata) -> pb.PodSandboxMetadata:
    """Return what names a sandbox."""
    return pb.PodSandboxMetadata(
        name=metadata.name,
        uid=metadata.uid,
        namespace=metadata.namespace,
        attempt=metadata.attempt,
    )


def _state_to(state: SandboxState) -> pb.PodSandboxState.ValueType:
    """CREATING and REMOVING are no states of CRI's; such a sandbox is of no use: not ready."""
    return pb.SANDBOX_READY if state is SandboxState.READY else pb.SANDBOX_NOTREADY


def _network_to(addresses: tuple[str, ...]) -> pb.PodSandboxNetworkStatus:
    return pb.PodSandboxNetworkStatus(
        ip=addresses[0] if addresses else "",
        additional_ips=[pb.PodIP(ip=address) for address in addresses[1:]],
    )


def _dns_from(message: pb.DNSConfig) -> DnsConfig:
    return DnsConfig(
        servers=tuple(message.servers),
        searches=tuple(message.searches),
        options=tuple(message.options),
    )


def _ports_from(message: pb.PodSandboxConfig, at: str) -> tuple[PortMapping, ...]:
    ports = enumerate(message.port_mappings)
    return tuple(_port_from(port, f"{at}[{index}]") for index, port in ports if port.host_port)


def _port_from(message: pb.PortMapping, at: str) -> PortMapping:
    for name, port in (
        ("container_port", message.container_port),
        ("host_port", message.host_port),
    ):
        if port not in _PORTS:
            raise InvalidArgumentError(f"{at}.{name}: must be 1 to 65535, not {port}")
    return PortMapping(
        protocol=known(PROTOCOLS, message.protocol, f"{at}.protocol"),
        container_port=message.container_port,
        host_port=message.host_port,
        host_ip=_host_ip(message.host_ip, f"{at}.host_ip"),
    )


def _host_ip(text: str, field: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError as error:
        raise InvalidArgumentError(f"{field}: {error}") from error
