import dataclasses

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.sandbox import (
    sandbox_config_from,
    sandbox_filter_from,
    sandbox_status_to,
    sandbox_to,
)
from runtime.network import DnsConfig, PortMapping
from runtime.pods import Filter, Sandbox, SandboxConfig, SandboxMetadata, SandboxState
from runtime.spec import NamespaceMode, NamespaceModes, Resources, Security
from store.errors import InvalidArgumentError

METADATA = pb.PodSandboxMetadata(name="n", uid="u", namespace="ns", attempt=2)
CONFIG = SandboxConfig(
    metadata=SandboxMetadata(name="n", uid="u", namespace="ns", attempt=2),
    labels={"l": "1"},
    annotations={"a": "2"},
)
SANDBOX = Sandbox(
    namespace="k8s.io",
    id="s1",
    config=CONFIG,
    handler="crun",
    state=SandboxState.READY,
    created_at=5,
    addresses=("10.0.0.2", "fd00::2"),
)


def test_every_field_of_a_config_arrives() -> None:
    message = pb.PodSandboxConfig(
        metadata=METADATA,
        hostname="host",
        log_directory="/logs",
        dns_config=pb.DNSConfig(servers=["1.1.1.1"], searches=["s"], options=["ndots:5"]),
        port_mappings=[
            pb.PortMapping(protocol=pb.UDP, container_port=53, host_port=5353, host_ip="127.0.0.1")
        ],
        labels={"l": "1"},
        annotations={"a": "2"},
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent="/kubepods",
            security_context=pb.LinuxSandboxSecurityContext(privileged=True),
            sysctls={"net.x": "1"},
            overhead=pb.LinuxContainerResources(cpu_shares=1),
            resources=pb.LinuxContainerResources(cpu_shares=2),
        ),
    )
    assert sandbox_config_from(message) == SandboxConfig(
        metadata=CONFIG.metadata,
        hostname="host",
        log_directory="/logs",
        dns=DnsConfig(servers=("1.1.1.1",), searches=("s",), options=("ndots:5",)),
        ports=(
            PortMapping(protocol="udp", container_port=53, host_port=5353, host_ip="127.0.0.1"),
        ),
        labels={"l": "1"},
        annotations={"a": "2"},
        cgroup_parent="/kubepods",
        security=Security(privileged=True),
        sysctls={"net.x": "1"},
        overhead=Resources(cpu_shares=1),
        resources=Resources(cpu_shares=2),
    )


def test_no_dns_config_is_told_apart_from_an_empty_one() -> None:
    assert sandbox_config_from(pb.PodSandboxConfig()).dns is None
    assert sandbox_config_from(pb.PodSandboxConfig(dns_config=pb.DNSConfig())).dns == DnsConfig()


def test_host_port_zero_exposes_nothing() -> None:
    message = pb.PodSandboxConfig(port_mappings=[pb.PortMapping(container_port=80)])
    assert sandbox_config_from(message).ports == ()


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (pb.PortMapping(host_port=1), "config.port_mappings[1].container_port: must be 1 to 65535"),
        (pb.PortMapping(container_port=1, host_port=-1), "host_port: must be 1 to 65535, not -1"),
        (
            pb.PortMapping(container_port=1, host_port=2, host_ip="here"),
            "config.port_mappings[1].host_ip: 'here'",
        ),
        (
            pb.PortMapping(protocol=pb.Protocol.ValueType(4), container_port=1, host_port=2),
            "config.port_mappings[1].protocol: unknown value 4",
        ),
    ],
)
def test_a_bad_port_is_refused_by_field(port: pb.PortMapping, text: str) -> None:
    message = pb.PodSandboxConfig(port_mappings=[pb.PortMapping(), port])
    with pytest.raises(InvalidArgumentError) as raised:
        sandbox_config_from(message)
    assert text in str(raised.value)


def test_a_list_shows_labels_and_annotations_verbatim() -> None:
    assert sandbox_to(SANDBOX) == pb.PodSandbox(
        id="s1",
        metadata=METADATA,
        state=pb.SANDBOX_READY,
        created_at=5,
        labels={"l": "1"},
        annotations={"a": "2"},
        runtime_handler="crun",
    )


def test_a_status_tells_addresses_and_namespaces() -> None:
    status = sandbox_status_to(SANDBOX)
    assert status.network.ip == "10.0.0.2"
    assert [one.ip for one in status.network.additional_ips] == ["fd00::2"]
    assert status.linux.namespaces.options.network == pb.POD
    assert (status.id, status.metadata, status.created_at) == ("s1", METADATA, 5)


def test_a_pod_on_the_nodes_network_has_no_address_of_its_own() -> None:
    modes = NamespaceModes(network=NamespaceMode.NODE)
    config = dataclasses.replace(CONFIG, security=Security(namespaces=modes))
    status = sandbox_status_to(dataclasses.replace(SANDBOX, config=config))
    assert status.HasField("network")
    assert status.network.ip == ""
    assert status.linux.namespaces.options.network == pb.NODE


@pytest.mark.parametrize("state", SandboxState)
def test_only_ready_is_ready(state: SandboxState) -> None:
    ready = sandbox_to(dataclasses.replace(SANDBOX, state=state)).state == pb.SANDBOX_READY
    assert ready is (state is SandboxState.READY)


def test_filters_keep_zero_states_apart_from_none() -> None:
    assert sandbox_filter_from(pb.PodSandboxFilter()) == Filter()
    message = pb.PodSandboxFilter(
        id="s",
        state=pb.PodSandboxStateValue(state=pb.SANDBOX_READY),
        label_selector={"l": "1"},
    )
    assert sandbox_filter_from(message) == Filter(id="s", state="ready", labels={"l": "1"})


def test_an_unknown_state_is_refused() -> None:
    state = pb.PodSandboxStateValue(state=pb.PodSandboxState.ValueType(9))
    with pytest.raises(InvalidArgumentError, match=r"filter\.state: unknown value 9"):
        sandbox_filter_from(pb.PodSandboxFilter(state=state))
