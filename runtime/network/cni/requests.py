"""What plugins are given: arguments, capabilities, the document on their standard input. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from runtime.network import AttachRequest, DnsConfig, PortMapping
from runtime.network.bandwidth import Bandwidth, burst, parse_bandwidth
from runtime.network.cni import INTERFACE, Json, Plugin, Target, Verb
from store.errors import InvalidArgumentError

# Between and inside the pairs of CNI_ARGS; a pod's name with one of them could add an argument.
_SEPARATORS: Final = frozenset(";=\0\n")
# libcni 1.2.0 to 1.2.2 called it otherwise, and so do plugins of that time.
_VALID: Final = ("cni.dev/valid-attachments", "cni.dev/attachments")


def arguments(request: AttachRequest) -> str:
    """Return CNI_ARGS as Kubernetes' plugins expect them.

    Raises:
        InvalidArgumentError: a name has a character that separates arguments.
    """
    pairs = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": request.pod_namespace,
        "K8S_POD_NAME": request.pod_name,
        "K8S_POD_INFRA_CONTAINER_ID": request.sandbox_id,
        "K8S_POD_UID": request.pod_uid,
    }
    for name, value in pairs.items():
        if _SEPARATORS & set(value):
            raise InvalidArgumentError(f"cannot tell CNI plugins of {name} {value[:80]!r}")
    return ";".join(f"{name}={value}" for name, value in pairs.items())


def capabilities(
    request: AttachRequest, ports: Sequence[PortMapping], ranges: Sequence[str]
) -> str:
    """Return what the pod asks of each well-known capability, as a JSON object.

    Args:
        request: the pod.
        ports: its host ports, in one spelling each.
        ranges: the node's pod ranges as Kubernetes told them.

    Raises:
        InvalidArgumentError: an annotation is no bandwidth.
    """
    wanted: dict[str, Json] = {
        "portMappings": [_port(mapping) for mapping in ports],
        "bandwidth": _bandwidth(parse_bandwidth(request.annotations)),
        "dns": _dns(request.dns),
        "ipRanges": [[{"subnet": subnet}] for subnet in ranges],
    }
    return json.dumps({name: value for name, value in wanted.items() if value})


def document(
    network: str, version: str, plugin: Plugin, wanted: str = "{}", previous: str = ""
) -> str:
    """Return what a plugin reads.

    Args:
        network: the configuration's name.
        version: the version that is spoken.
        plugin: its configuration.
        wanted: what `capabilities` returned; the plugin gets those it declares.
        previous: a result to pass on; empty for none.
    """
    told = _loaded(wanted)
    runtime: dict[str, Json] = {name: told[name] for name in plugin.capabilities if name in told}
    request = _loaded(plugin.document)
    request.pop("capabilities", None)
    request |= {"name": network, "cniVersion": version}
    if runtime:
        request["runtimeConfig"] = runtime
    if previous:
        request["prevResult"] = _loaded(previous)
    return json.dumps(request)


def collection(network: str, version: str, plugin: Plugin, valid: Sequence[str]) -> str:
    """Return what a plugin reads that is to keep what belongs to the sandboxes `valid` only."""
    attachments: Json = [{"containerID": id_, "ifname": INTERFACE} for id_ in valid]
    request = _loaded(document(network, version, plugin))
    return json.dumps(request | dict.fromkeys(_VALID, attachments))


def environment(verb: Verb, target: Target | None) -> Mapping[str, str]:
    """Return the variables that tell a plugin what to do.

    Plugins made with early versions of the Go library want all of them even for VERSION.
    """
    if target is None:
        spare = "unused" if verb is Verb.VERSION else ""
        given = {"CNI_CONTAINERID": spare, "CNI_NETNS": spare, "CNI_IFNAME": spare, "CNI_ARGS": ""}
    else:
        given = {
            "CNI_CONTAINERID": target.container_id,
            "CNI_NETNS": target.netns,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": target.arguments,
        }
    return {"CNI_COMMAND": verb.value, **given}


def _port(mapping: PortMapping) -> Json:
    told: dict[str, Json] = {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol,
    }
    return told | {"hostIP": mapping.host_ip} if mapping.host_ip else told


def _bandwidth(limits: Bandwidth) -> dict[str, Json]:
    told: dict[str, Json] = {}
    for name, rate in (("ingress", limits.ingress), ("egress", limits.egress)):
        if rate:
            told |= {f"{name}Rate": rate, f"{name}Burst": burst(rate)}
    return told


def _dns(dns: DnsConfig) -> dict[str, Json]:
    lists = {"servers": dns.servers, "searches": dns.searches, "options": dns.options}
    return {name: list(values) for name, values in lists.items() if values}


def _loaded(text: str) -> dict[str, Json]:
    loaded: dict[str, Json] = json.loads(text)
    return loaded
