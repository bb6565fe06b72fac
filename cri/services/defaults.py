"""What a request gets where it does not say: the node's configuration in place of nothing."""

from dataclasses import dataclass, replace

from cri.config import Pods, SeccompDefault
from runtime.network import DnsConfig
from runtime.pods import ContainerConfig, SandboxConfig
from runtime.spec import NamespaceMode, Profile, ProfileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefaults:
    """`dns` for sandboxes, `seccomp` for containers; None leaves a request as it is."""

    dns: DnsConfig | None = None
    seccomp: Profile | None = None

    def sandbox(self, config: SandboxConfig) -> SandboxConfig:
        """Return the sandbox to make. A pod on the node's network keeps the node's resolver."""
        on_node = config.security.namespaces.network is NamespaceMode.NODE
        if config.dns is not None or self.dns is None or on_node:
            return config
        return replace(config, dns=self.dns)

    def container(self, config: ContainerConfig) -> ContainerConfig:
        """Return the container to make. A privileged one stays without a filter."""
        security = config.security
        if security.seccomp is not None or self.seccomp is None or security.privileged:
            return config
        return replace(config, security=replace(security, seccomp=self.seccomp))


def configured(pods: Pods) -> RequestDefaults:
    """Return the defaults that a configuration asks for."""
    dns = DnsConfig(servers=pods.dns_servers, searches=pods.dns_searches, options=pods.dns_options)
    filtered = pods.seccomp_default is SeccompDefault.RUNTIME_DEFAULT
    return RequestDefaults(
        dns=dns if dns != DnsConfig() else None,
        seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT) if filtered else None,
    )
