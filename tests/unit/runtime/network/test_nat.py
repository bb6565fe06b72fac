import ipaddress

import pytest

from runtime.network import PortMapping, nat
from runtime.network.nat import HostPort
from store.errors import InvalidArgumentError


def mapping(host_ip: str = "", protocol: str = "tcp") -> PortMapping:
    return PortMapping(protocol=protocol, container_port=80, host_port=8080, host_ip=host_ip)


@pytest.mark.parametrize(
    ("port", "map_", "key", "value", "text"),
    [
        (
            HostPort(mapping=mapping(), address="10.0.0.2"),
            "ports4",
            "06000000 1f900000",
            "0a000002 00500000",
            "tcp . 8080 : 10.0.0.2 . 80",
        ),
        (
            HostPort(mapping=mapping("127.0.0.1", "sctp"), address="10.0.0.2"),
            "address_ports4",
            "7f000001 84000000 1f900000",
            "0a000002 00500000",
            "127.0.0.1 . sctp . 8080 : 10.0.0.2 . 80",
        ),
        (
            HostPort(mapping=mapping(protocol="udp"), address="fd00::2"),
            "ports6",
            "11000000 1f900000",
            "fd00000000000000 0000000000000002 00500000",
            "udp . 8080 : fd00::2 . 80",
        ),
    ],
)
def test_elements_are_as_nft_writes_them(
    port: HostPort, map_: str, key: str, value: str, text: str
) -> None:
    assert port.map == map_
    assert port.key() == bytes.fromhex(key)
    assert port.value() == bytes.fromhex(value)
    assert str(port) == text


def test_a_mapping_leads_to_every_address_it_can() -> None:
    addresses = ("10.0.0.2", "fd00::2")
    assert [p.address for p in nat.host_ports(addresses, [mapping()])] == list(addresses)
    assert [p.address for p in nat.host_ports(addresses, [mapping("127.0.0.1")])] == ["10.0.0.2"]
    with pytest.raises(InvalidArgumentError, match="host_ip fd00::1: the pod has no IPv6"):
        nat.host_ports(addresses[:1], [mapping("fd00::1")])


def test_the_script_masquerades_only_when_asked() -> None:
    subnets = (ipaddress.ip_network("10.0.0.0/16"), ipaddress.ip_network("fd00::/64"))
    leaving = 'ip saddr 10.0.0.0/16 oifname != "br" ip daddr != 224.0.0.0/4 masquerade'
    ports = nat.host_ports(("10.0.0.2",), [mapping()])
    with_it = nat.script("br", subnets, ports, masquerade=True)
    without = nat.script("br", subnets, ports, masquerade=False)
    assert leaving in with_it
    assert leaving not in without
    hairpin = 'oifname "br" ct status dnat ip6 saddr fd00::/64 masquerade'
    assert hairpin in with_it
    assert hairpin in without
    assert without.endswith("add element inet ferry-br ports4 { tcp . 8080 : 10.0.0.2 . 80 }\n")
