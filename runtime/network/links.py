"""The netlink messages of the bridge network, as pure functions.

A pod's pair of interfaces is made by one message: both ends named, the host's up and on the bridge,
the pod's already in its namespace. Everything on the node refers to interfaces by name, so that
nothing has to be asked there.
"""

import hashlib
import ipaddress
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pyroute2.netlink import nlmsg_base
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from runtime.kernel import netlink
from runtime.kernel.netlink import Request, Template
from runtime.network.addresses import Subnet

POD_INTERFACE: Final = "eth0"

_NEWLINK: Final = 16
_DELLINK: Final = 17
_GETLINK: Final = 18
_NEWADDR: Final = 20
_DELADDR: Final = 21
_GETADDR: Final = 22
_NEWROUTE: Final = 24
_IFF_UP: Final = 1
_IFA_F_NODAD: Final = 2
_RT_TABLE_MAIN: Final = 254
_RTPROT_STATIC: Final = 4
_RTN_UNICAST: Final = 1
# What templates have where names, descriptors, indexes and addresses go.
_LINK_MARK: Final = "fy_link_mark_0"
_NUMBER_MARK: Final = 0x7A6D5C4B
_MAC_MARK: Final = "fe:dc:ba:98:76:54"
_ADDRESS_MARKS: Final = {4: "254.253.252.251", 6: "fdfe:fdfc:fbfa:f9f8:f7f6:f5f4:f3f2:f1f0"}
_FAMILIES: Final = {4: 2, 6: 10}
_UP: Final = {"flags": _IFF_UP, "change": _IFF_UP}
_CHANGE: Final = netlink.REQUEST | netlink.ACK
_MAKE: Final = _CHANGE | netlink.CREATE | netlink.EXCLUSIVE


def link_name(bridge: str, sandbox_id: str) -> str:
    """Return the name of a pod's interface on the host: the same for the same pod, 14 letters."""
    return "fy" + hashlib.sha256(f"{bridge}/{sandbox_id}".encode()).hexdigest()[:12]


def hardware_address(address: str) -> str:
    """Return the MAC of whoever has an IP address.

    It follows from the address, so that a neighbour's cache stays right when a new pod gets it.
    """
    tail = ipaddress.ip_address(address).packed[-4:]
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x58" + tail)


def make_bridge(name: str, mtu: int, gateway: str) -> Request:
    """Make the bridge, or set its size and hardware address if there is one, and bring it up.

    With an address of its own it does not take over that of whichever pod comes and goes.
    """
    attributes = (
        ("IFLA_IFNAME", name),
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", hardware_address(gateway)),
        ("IFLA_LINKINFO", {"attrs": (("IFLA_INFO_KIND", "bridge"),)}),
    )
    flags = _CHANGE | netlink.CREATE
    what = f"make the bridge {name}"
    return netlink.encode(what, ifinfmsg(), _NEWLINK, flags, attributes, _UP)


def add_address(interface: str, index: int, address: str, prefix: int) -> Request:
    """Give an interface an address, usable at once (no duplicate address detection)."""
    attributes = (("IFA_LOCAL", address), ("IFA_ADDRESS", address), ("IFA_FLAGS", _IFA_F_NODAD))
    return netlink.encode(
        f"add address {address}/{prefix} to {interface}",
        ifaddrmsg(),
        _NEWADDR,
        _CHANGE | netlink.CREATE | netlink.REPLACE,
        attributes,
        {"family": _family(address), "prefixlen": prefix, "index": index},
    )


def remove_address(interface: str, index: int, address: str, prefix: int) -> Request:
    """Take an address from an interface."""
    return netlink.encode(
        f"remove address {address}/{prefix} from {interface}",
        ifaddrmsg(),
        _DELADDR,
        _CHANGE,
        (("IFA_LOCAL", address), ("IFA_ADDRESS", address)),
        {"family": _family(address), "prefixlen": prefix, "index": index},
    )


def make_pair(link: str, bridge_index: int, netns: int, mac: str, mtu: int) -> Request:
    """Make a pod's pair of interfaces, the host's end up.

    The kernel refuses to make both ends up at once (ENOTCONN).

    Args:
        link: the name of the host's end, of `link_name`.
        bridge_index: where the host's end is plugged in.
        netns: a descriptor of the namespace that gets the other end.
        mac: the hardware address of the pod's end.
        mtu: of both ends.
    """
    values = link.encode(), struct.pack("=I", netns), bytes.fromhex(mac.replace(":", ""))
    return _pair(bridge_index, mtu).fill(f"make the interface {link}", *values)


def set_hairpin(link: str) -> Request:
    """Let a pod's bridge port send back to where a packet came from."""
    return _hairpin().fill(f"set hairpin mode on {link}", link.encode())


def plug_in(link: str, bridge_index: int) -> Request:
    """Put an interface on the bridge."""
    attributes = (("IFLA_IFNAME", link), ("IFLA_MASTER", bridge_index))
    what = f"put {link} on the bridge"
    return netlink.encode(what, ifinfmsg(), _NEWLINK, _CHANGE, attributes)


def set_down(link: str) -> Request:
    """Take an interface down: nothing passes from this moment on."""
    attributes = (("IFLA_IFNAME", link),)
    fields = {"flags": 0, "change": _IFF_UP}
    return netlink.encode(f"set {link} down", ifinfmsg(), _NEWLINK, _CHANGE, attributes, fields)


def delete_link(link: str) -> Request:
    """Delete an interface, and its other end."""
    attributes = (("IFLA_IFNAME", link),)
    return netlink.encode(f"delete {link}", ifinfmsg(), _DELLINK, _CHANGE, attributes)


def configure_pod(index: int, addresses: Sequence[str], subnets: Sequence[Subnet]) -> list[Request]:
    """Bring the pod's end up and give it its addresses and default routes."""
    requests = [_set_up(index)]
    for address, subnet in zip(addresses, subnets, strict=True):
        packed = ipaddress.ip_address(address).packed
        what = f"add address {address}/{subnet.prefixlen} to {POD_INTERFACE}"
        requests.append(_pod_address(index, subnet.version, subnet.prefixlen).fill(what, packed))
        requests.append(_default_route(index, str(subnet[1])))
    return requests


def list_ports(bridge_index: int) -> Request:
    """Ask for the interfaces on a bridge."""
    attributes = (("IFLA_MASTER", bridge_index),)
    flags = netlink.REQUEST | netlink.DUMP
    return netlink.encode("list interfaces", ifinfmsg(), _GETLINK, flags, attributes)


def list_addresses() -> Request:
    """Ask for all addresses of the node."""
    return netlink.encode("list addresses", ifaddrmsg(), _GETADDR, netlink.REQUEST | netlink.DUMP)


def port_names(replies: Sequence[bytes], bridge_index: int) -> list[str]:
    """Read the answers to `list_ports`."""
    messages = [_decoded(ifinfmsg(data)) for data in replies]
    return [
        str(message.get_attr("IFLA_IFNAME"))
        for message in messages
        if message.get_attr("IFLA_MASTER") == bridge_index
    ]


def interface_addresses(replies: Sequence[bytes]) -> list[tuple[int, str, int]]:
    """Read the answers to `list_addresses`: interface index, address, prefix length."""
    found = []
    for data in replies:
        message = _decoded(ifaddrmsg(data))
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        found.append((int(message["index"]), str(address), int(message["prefixlen"])))
    return found


def network(address: str, prefix: int) -> Subnet:
    """Return the range an interface's address is of."""
    return ipaddress.ip_network(f"{address}/{prefix}", strict=False)


@lru_cache(maxsize=4)
def _pair(bridge_index: int, mtu: int) -> Template:
    peer: netlink.Value = {
        "attrs": (
            ("IFLA_IFNAME", POD_INTERFACE),
            ("IFLA_NET_NS_FD", _NUMBER_MARK),
            ("IFLA_ADDRESS", _MAC_MARK),
            ("IFLA_MTU", mtu),
        ),
    }
    kind: netlink.Value = {
        "attrs": (
            ("IFLA_INFO_KIND", "veth"),
            ("IFLA_INFO_DATA", {"attrs": (("VETH_INFO_PEER", peer),)}),
        )
    }
    attributes = (
        ("IFLA_IFNAME", _LINK_MARK),
        ("IFLA_MASTER", bridge_index),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", kind),
    )
    message = netlink.encode("make a pair", ifinfmsg(), _NEWLINK, _MAKE, attributes, _UP)
    mac = bytes.fromhex(_MAC_MARK.replace(":", ""))
    return Template(message, _LINK_MARK.encode(), struct.pack("=I", _NUMBER_MARK), mac)


@lru_cache(maxsize=1)
def _hairpin() -> Template:
    port = {
        "attrs": (
            ("IFLA_INFO_SLAVE_KIND", "bridge"),
            ("IFLA_INFO_SLAVE_DATA", {"attrs": (("IFLA_BRPORT_MODE", 1),)}),
        )
    }
    attributes = (("IFLA_IFNAME", _LINK_MARK), ("IFLA_LINKINFO", port))
    message = netlink.encode("set hairpin", ifinfmsg(), _NEWLINK, _CHANGE, attributes)
    return Template(message, _LINK_MARK.encode())


# A pod's interface has nearly always the same index, the first free one of its namespace.
@lru_cache(maxsize=16)
def _pod_address(index: int, version: int, prefix: int) -> Template:
    mark = _ADDRESS_MARKS[version]
    attributes = (("IFA_LOCAL", mark), ("IFA_FLAGS", _IFA_F_NODAD))
    fields = {"family": _FAMILIES[version], "prefixlen": prefix, "index": index}
    message = netlink.encode("add", ifaddrmsg(), _NEWADDR, _MAKE, attributes, fields)
    return Template(message, ipaddress.ip_address(mark).packed)


@lru_cache(maxsize=16)
def _set_up(index: int) -> Request:
    what, fields = f"set {POD_INTERFACE} up", {"index": index, **_UP}
    return netlink.encode(what, ifinfmsg(), _NEWLINK, _CHANGE, (), fields)


@lru_cache(maxsize=16)
def _default_route(index: int, gateway: str) -> Request:
    return netlink.encode(
        f"add the default route by {gateway}",
        rtmsg(),
        _NEWROUTE,
        _MAKE,
        (("RTA_GATEWAY", gateway), ("RTA_OIF", index)),
        {
            "family": _family(gateway),
            "table": _RT_TABLE_MAIN,
            "proto": _RTPROT_STATIC,
            "type": _RTN_UNICAST,
        },
    )


def _family(address: str) -> int:
    return _FAMILIES[ipaddress.ip_address(address).version]


def _decoded(message: nlmsg_base) -> nlmsg_base:
    message.decode()
    return message
