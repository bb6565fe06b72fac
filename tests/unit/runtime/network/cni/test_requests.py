import json
from pathlib import Path

import pytest

from runtime.network import AttachRequest, DnsConfig, PortMapping
from runtime.network.cni import Plugin, Target, Verb
from runtime.network.cni.requests import (
    arguments,
    capabilities,
    collection,
    document,
    environment,
)
from store.errors import InvalidArgumentError

POD = AttachRequest(
    sandbox_id="0123",
    netns=Path("/run/ns"),
    pod_namespace="default",
    pod_name="web-0",
    pod_uid="u-1",
    annotations={"kubernetes.io/ingress-bandwidth": "10M"},
    dns=DnsConfig(servers=("10.0.0.10",), searches=("svc.local",), options=("ndots:5",)),
)
PORTS = (
    PortMapping(protocol="tcp", container_port=80, host_port=8080),
    PortMapping(protocol="udp", container_port=53, host_port=53, host_ip="127.0.0.1"),
)
PLUGIN = Plugin(
    type="x",
    document='{"type": "x", "key": 1, "capabilities": {"dns": true, "mac": true}}',
    capabilities=("dns", "mac"),
)


def test_arguments_name_the_pod() -> None:
    assert arguments(POD) == (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;"
        "K8S_POD_INFRA_CONTAINER_ID=0123;K8S_POD_UID=u-1"
    )


@pytest.mark.parametrize("name", ["a;IP=10.0.0.1", "a=b", "a\0b", "a\nb"])
def test_a_name_can_not_add_an_argument(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="K8S_POD_NAME"):
        arguments(AttachRequest(sandbox_id="0", netns=Path("/x"), pod_name=name))


def test_capabilities_are_what_the_pod_asks_for() -> None:
    assert json.loads(capabilities(POD, PORTS, ("10.1.0.0/24", "fd00::/64"))) == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        ],
        "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 1_048_576},
        "dns": {"servers": ["10.0.0.10"], "searches": ["svc.local"], "options": ["ndots:5"]},
        "ipRanges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
    }


def test_nothing_asked_is_nothing_told() -> None:
    plain = AttachRequest(sandbox_id="0", netns=Path("/x"))
    assert capabilities(plain, (), ()) == "{}"


def test_a_plugin_gets_what_it_declares() -> None:
    read = json.loads(document("net", "1.0.0", PLUGIN, capabilities(POD, PORTS, ())))
    assert read == {
        "type": "x",
        "key": 1,
        "name": "net",
        "cniVersion": "1.0.0",
        "runtimeConfig": {
            "dns": {"servers": ["10.0.0.10"], "searches": ["svc.local"], "options": ["ndots:5"]}
        },
    }


def test_the_previous_result_is_passed_on() -> None:
    read = json.loads(document("net", "1.0.0", PLUGIN, "{}", '{"ips": [], "more": 1}'))
    assert read["prevResult"] == {"ips": [], "more": 1}
    assert "runtimeConfig" not in read


def test_a_collection_lists_what_is_valid_under_both_of_its_names() -> None:
    read = json.loads(collection("net", "1.1.0", PLUGIN, ["a", "b"]))
    expected = [{"containerID": "a", "ifname": "eth0"}, {"containerID": "b", "ifname": "eth0"}]
    assert read["cni.dev/valid-attachments"] == expected
    assert read["cni.dev/attachments"] == expected
    assert read["cniVersion"] == "1.1.0"


def test_the_environment_says_what_to_do() -> None:
    target = Target(container_id="0123", netns="/run/ns", arguments="A=B")
    assert environment(Verb.ADD, target) == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "0123",
        "CNI_NETNS": "/run/ns",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "A=B",
    }
    assert environment(Verb.GC, None)["CNI_CONTAINERID"] == ""
    assert environment(Verb.VERSION, None)["CNI_CONTAINERID"]
