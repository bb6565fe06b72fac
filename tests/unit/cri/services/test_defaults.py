from dataclasses import replace

import pytest

from cri.config import Pods, SeccompDefault
from cri.services.defaults import RequestDefaults, configured
from runtime.network import DnsConfig
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ImageRequest,
    SandboxConfig,
    SandboxMetadata,
)
from runtime.spec import NamespaceMode, NamespaceModes, Profile, ProfileKind, Security

SANDBOX = SandboxConfig(metadata=SandboxMetadata(name="n", uid="u", namespace="ns"))
CONTAINER = ContainerConfig(
    metadata=ContainerMetadata(name="c"), image=ImageRequest(image="sha256:1")
)
DNS = DnsConfig(servers=("1.1.1.1",))
DEFAULT = Profile(kind=ProfileKind.RUNTIME_DEFAULT)
UNCONFINED = Profile(kind=ProfileKind.UNCONFINED)
DEFAULTS = RequestDefaults(dns=DNS, seccomp=DEFAULT)


def test_nothing_configured_changes_nothing() -> None:
    defaults = configured(Pods())
    assert defaults == RequestDefaults()
    assert defaults.sandbox(SANDBOX) is SANDBOX
    assert defaults.container(CONTAINER) is CONTAINER


def test_the_configuration_is_followed() -> None:
    pods = Pods(dns_servers=("1.1.1.1",), seccomp_default=SeccompDefault.RUNTIME_DEFAULT)
    assert configured(pods) == DEFAULTS


def test_a_request_without_dns_gets_it() -> None:
    assert DEFAULTS.sandbox(SANDBOX) == replace(SANDBOX, dns=DNS)


def test_a_request_with_dns_or_on_the_nodes_network_keeps_its_own() -> None:
    own = replace(SANDBOX, dns=DnsConfig())
    modes = NamespaceModes(network=NamespaceMode.NODE)
    host = replace(SANDBOX, security=Security(namespaces=modes))
    assert DEFAULTS.sandbox(own) is own
    assert DEFAULTS.sandbox(host) is host


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        (Security(), DEFAULT),
        (Security(seccomp=UNCONFINED), UNCONFINED),
        (Security(privileged=True), None),
    ],
)
def test_a_container_without_a_profile_gets_one(
    security: Security, expected: Profile | None
) -> None:
    made = DEFAULTS.container(replace(CONTAINER, security=security))
    assert made.security.seccomp == expected
