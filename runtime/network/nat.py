"""Masquerade and host ports in nftables, as pure functions from what is wanted.

One table for each bridge, made once by a script: its rules look host ports up in maps, so a pod
with host ports costs map elements and no rule. Elements are sent as netlink batches, without
starting a program. Connections of the node itself to 127.0.0.1 are led into pods too: the bridge
accepts loopback addresses (`route_localnet`) for the answers, and everything else that pods send
to them is dropped before connection tracking.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_set_elem_list_msg, nft_table_msg

from runtime.kernel import netlink
from runtime.kernel.netlink import Request, Template
from runtime.network import PortMapping
from runtime.network.addresses import Subnet
from runtime.network.ports import PROTOCOLS
from store.errors import InvalidArgumentError

_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_NFTABLES: Final = 10
_GET_TABLE: Final = _NFTABLES << 8 | 1
_NEW_ELEMENT: Final = _NFTABLES << 8 | 12
_DELETE_ELEMENT: Final = _NFTABLES << 8 | 14
_DELETE_CONNECTIONS: Final = 1 << 8 | 2
_INET: Final = 1
# Compare protocol and destination port (uapi/linux/netfilter/nfnetlink_conntrack.h).
_FILTER_PORT: Final = 1 << 3 | 1 << 5

_SCRIPT: Final = """\
add table inet {table}
delete table inet {table}
table inet {table} {{
  map ports4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map ports6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map address_ports4 {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;
  }}
  map address_ports6 {{
    type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service;
  }}
  chain host_ports {{
    ip6 daddr ::1 return
    dnat ip to ip daddr . meta l4proto . th dport map @address_ports4
    dnat ip to meta l4proto . th dport map @ports4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @address_ports6
    dnat ip6 to meta l4proto . th dport map @ports6
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump host_ports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump host_ports
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
{masquerade}
  }}
  chain loopback {{
    type filter hook prerouting priority -300; policy accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
    iifname "{bridge}" ip saddr 127.0.0.0/8 drop
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """One host port of one family, with the pod's address and port it leads to."""

    mapping: PortMapping
    address: str

    @property
    def map(self) -> str:
        """The map it belongs in."""
        family = ipaddress.ip_address(self.address).version
        return f"{'address_' if self.mapping.host_ip else ''}ports{family}"

    @property
    def name(self) -> str:
        """The port as errors call it."""
        return f"{self.mapping.host_port}/{self.mapping.protocol}"

    def key(self) -> bytes:
        """Its key: every part padded to four bytes, in network order."""
        host = self.mapping.host_ip
        packed = ipaddress.ip_address(host).packed if host else b""
        protocol = PROTOCOLS[self.mapping.protocol]
        return packed + struct.pack("!B3xH2x", protocol, self.mapping.host_port)

    def value(self) -> bytes:
        """What it leads to, encoded as `key`."""
        packed = ipaddress.ip_address(self.address).packed
        return packed + struct.pack("!H2x", self.mapping.container_port)

    def __str__(self) -> str:
        mapping = self.mapping
        host = f"{mapping.host_ip} . " if mapping.host_ip else ""
        key = f"{host}{mapping.protocol} . {mapping.host_port}"
        return f"{key} : {self.address} . {mapping.container_port}"


def table_name(bridge: str) -> str:
    """Return the name of the table of a bridge."""
    return f"ferry-{bridge}"


def host_ports(addresses: Sequence[str], ports: Iterable[PortMapping]) -> list[HostPort]:
    """Return the host ports of a pod: one for each of its addresses that a mapping can lead to.

    Raises:
        InvalidArgumentError: a mapping's host address is of a family the pod has no address of.
    """
    found = []
    for mapping in ports:
        wanted = ipaddress.ip_address(mapping.host_ip).version if mapping.host_ip else None
        targets = [a for a in addresses if wanted in {None, ipaddress.ip_address(a).version}]
        if not targets:
            raise InvalidArgumentError(
                f"cannot map a port: host_ip {mapping.host_ip}: the pod has no IPv{wanted} address"
            )
        found += [HostPort(mapping=mapping, address=address) for address in targets]
    return found


def script(
    bridge: str, subnets: Sequence[Subnet], ports: Iterable[HostPort], *, masquerade: bool
) -> str:
    """Return the nft script that makes the table anew, with `ports` in its maps.

    nft applies it as one transaction: there is no moment without rules.
    """
    rules = "\n".join(_masquerade(bridge, subnets, masquerade=masquerade))
    table = table_name(bridge)
    lines = [_SCRIPT.format(table=table, bridge=bridge, masquerade=rules)]
    lines += [f"add element inet {table} {port.map} {{ {port} }}\n" for port in ports]
    return "".join(lines)


def delete_script(bridge: str) -> str:
    """Return the nft script after which the table is not there."""
    table = table_name(bridge)
    return f"add table inet {table}\ndelete table inet {table}\n"


def add_ports(bridge: str, ports: Sequence[HostPort]) -> list[Request]:
    """Lead host ports into a pod: a batch for `Netlink.send`."""
    return _batch(
        _adding(bridge, port.map).fill(f"map host port {port.name}", port.key(), port.value())
        for port in ports
    )


def remove_ports(bridge: str, ports: Sequence[HostPort]) -> list[Request]:
    """Take host ports back: a batch, refused as a whole if one is not there."""
    return _batch(
        _removing(bridge, port.map).fill(f"free host port {port.name}", port.key())
        for port in ports
    )


def find_table(bridge: str) -> Request:
    """Ask for the table; refused with ENOENT if it is not there."""
    attributes = (("NFTA_TABLE_NAME", table_name(bridge)),)
    flags = netlink.REQUEST | netlink.ACK
    what = f"find table {table_name(bridge)}"
    message = nft_table_msg()
    return netlink.encode(what, message, _GET_TABLE, flags, attributes, {"nfgen_family": _INET})


def forget_connections(port: HostPort) -> Request:
    """Drop the tracked connections to a host port.

    A client that keeps sending datagrams from one port would otherwise go on reaching whatever
    answered there before this pod.
    """
    protocol = PROTOCOLS[port.mapping.protocol]
    tuple_ = (("CTA_PROTO_NUM", protocol), ("CTA_PROTO_DST_PORT", port.mapping.host_port))
    attributes = (
        ("CTA_TUPLE_ORIG", {"attrs": (("CTA_TUPLE_PROTO", {"attrs": tuple_}),)}),
        ("CTA_FILTER", {"attrs": (("CTA_FILTER_ORIG_FLAGS", _FILTER_PORT),)}),
    )
    family = socket.AF_INET if "." in port.address else socket.AF_INET6
    return netlink.encode(
        f"drop old connections to host port {port.name}",
        nfct_msg(),
        _DELETE_CONNECTIONS,
        netlink.REQUEST | netlink.ACK,
        attributes,
        {"nfgen_family": int(family), "version": 1},
    )


def _masquerade(bridge: str, subnets: Sequence[Subnet], *, masquerade: bool) -> list[str]:
    out = f'oifname "{bridge}" ct status dnat'
    rules = [f"    {out} ip saddr 127.0.0.0/8 masquerade"]
    for subnet in subnets:
        family, multicast = ("ip", "224.0.0.0/4") if subnet.version == 4 else ("ip6", "ff00::/8")
        # A pod that reached a pod, perhaps itself, by a host port must be answered by this node.
        rules.append(f"    {out} {family} saddr {subnet} masquerade")
        if masquerade:
            leaves = f'{family} saddr {subnet} oifname != "{bridge}"'
            rules.append(f"    {leaves} {family} daddr != {multicast} masquerade")
    return rules


def _batch(elements: Iterable[Request]) -> list[Request]:
    return [_frame(_BATCH_BEGIN), *elements, _frame(_BATCH_END)]


@lru_cache(maxsize=8)
def _adding(bridge: str, map_: str) -> Template:
    key, value = _marks(map_)
    parts = (("NFTA_SET_ELEM_KEY", _data(key)), ("NFTA_SET_ELEM_DATA", _data(value)))
    flags = netlink.REQUEST | netlink.ACK | netlink.CREATE
    return Template(_element(bridge, map_, parts, _NEW_ELEMENT, flags), key, value)


@lru_cache(maxsize=8)
def _removing(bridge: str, map_: str) -> Template:
    key, _ = _marks(map_)
    parts = (("NFTA_SET_ELEM_KEY", _data(key)),)
    flags = netlink.REQUEST | netlink.ACK
    return Template(_element(bridge, map_, parts, _DELETE_ELEMENT, flags), key)


def _marks(map_: str) -> tuple[bytes, bytes]:
    """Return what stands for key and value of an element in a template."""
    address = 16 if map_.endswith("6") else 4
    key = 8 + (address if map_.startswith("address_") else 0)
    return b"\xa5" * key, b"\x5a" * (address + 4)


def _element(bridge: str, map_: str, parts: netlink.Attributes, type_: int, flags: int) -> Request:
    attributes = (
        ("NFTA_SET_ELEM_LIST_TABLE", table_name(bridge)),
        ("NFTA_SET_ELEM_LIST_SET", map_),
        ("NFTA_SET_ELEM_LIST_ELEMENTS", [{"attrs": parts}]),
    )
    message = nft_set_elem_list_msg()
    fields = {"nfgen_family": _INET}
    return netlink.encode("change a host port", message, type_, flags, attributes, fields)


def _data(value: bytes) -> netlink.Value:
    return {"attrs": (("NFTA_DATA_VALUE", value),)}


@lru_cache(maxsize=2)
def _frame(type_: int) -> Request:
    what = "change nftables"
    return netlink.encode(what, nfgen_msg(), type_, netlink.REQUEST, (), {"res_id": _NFTABLES})
