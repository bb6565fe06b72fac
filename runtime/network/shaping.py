"""Bandwidth limits of pods as netlink messages: pure.

What a pod receives leaves the node through the host's end of its pair, where a token bucket (tbf)
holds it. What it sends arrives there, and arriving packets can't be held: they are led through an
interface of their own (ifb), a shaper, where a token bucket can. Both are at the node's end, out of
the pod's reach. pyroute2 knows neither 64-bit rates nor sizes of buckets in bytes, so that the
options are packed here (linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h).
"""

import socket
import struct
from typing import Final

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from runtime.kernel import netlink
from runtime.kernel.netlink import Request
from runtime.network.bandwidth import burst

_NEWLINK: Final = 16
_NEWQDISC: Final = 36
_NEWTFILTER: Final = 44
_IFF_UP: Final = 1
_ROOT: Final = 0xFFFFFFFF
_INGRESS: Final = 0xFFFFFFF1
_INGRESS_HANDLE: Final = 0xFFFF0000
_FIRST_HANDLE: Final = 0x00010000
_EVERY_PROTOCOL: Final = 1 << 16 | socket.htons(3)
_KIND: Final = 1
_OPTIONS: Final = 2
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_U32_SEL, _U32_ACT, _U32_TERMINAL = 5, 7, 1
_ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS = 1, 2, 2
_STOLEN: Final = 4
_REDIRECT: Final = 1
_ETHERNET: Final = 1
_MAX32: Final = 0xFFFFFFFF
_MAKE: Final = netlink.REQUEST | netlink.ACK | netlink.CREATE | netlink.EXCLUSIVE
# How long a packet may wait for its token: a twentieth of a second's worth is queued.
_QUEUE_PART: Final = 20


def make_shaper(name: str) -> Request:
    """Make a shaper, and bring it up."""
    kind = {"attrs": (("IFLA_INFO_KIND", "ifb"),)}
    attributes = (("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind))
    up = {"flags": _IFF_UP, "change": _IFF_UP}
    what = f"make the shaper {name}"
    return netlink.encode(what, ifinfmsg(), _NEWLINK, _MAKE, attributes, up)


def limit(what: str, index: int, rate: int) -> Request:
    """Hold what leaves through an interface to so many bits per second.

    Args:
        what: completes "cannot limit ..." in an error.
        index: of the interface.
        rate: in bits per second.
    """
    size = burst(rate) // 8
    octets = rate // 8
    ratespec = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(octets, _MAX32))
    queue = min(octets // _QUEUE_PART + size, _MAX32)
    parameters = ratespec + bytes(len(ratespec)) + struct.pack("=III", queue, 0, 0)
    options = (
        _attribute(_TBF_PARMS, parameters)
        + _attribute(_TBF_BURST, struct.pack("=I", size))
        + _attribute(_TBF_RATE64, struct.pack("=Q", octets))
    )
    place = struct.pack("=iIII", index, _FIRST_HANDLE, _ROOT, 0)
    return _message(f"limit {what}", _NEWQDISC, place, "tbf", options)


def redirect(link: str, index: int, shaper: int) -> list[Request]:
    """Lead every packet that arrives at an interface through a shaper.

    Args:
        link: the interface's name, for errors.
        index: of the interface.
        shaper: the index of the shaper.
    """
    queue = struct.pack("=iIII", index, _INGRESS_HANDLE, _INGRESS, 0)
    filter_ = struct.pack("=iIII", index, 0, _INGRESS_HANDLE, _EVERY_PROTOCOL)
    what = f"shape what {link} sends"
    return [
        _message(what, _NEWQDISC, queue, "ingress", b""),
        _message(what, _NEWTFILTER, filter_, "u32", _to(shaper)),
    ]


def _to(shaper: int) -> bytes:
    """Match everything (one key that masks nothing) and steal it for another interface."""
    selector = struct.pack("!BBBxHHhhI", _U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0)
    key = struct.pack("=IIii", 0, 0, 0, 0)
    action = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _REDIRECT, shaper)
    mirred = _attribute(_ACT_KIND, b"mirred\0") + _attribute(
        _ACT_OPTIONS, _attribute(_MIRRED_PARMS, action)
    )
    return _attribute(_U32_SEL, selector + key) + _attribute(_U32_ACT, _attribute(1, mirred))


def _message(what: str, type_: int, place: bytes, kind: str, options: bytes) -> Request:
    body = struct.pack("=B3x", socket.AF_UNSPEC) + place
    body += _attribute(_KIND, kind.encode() + b"\0") + _attribute(_OPTIONS, options)
    header = struct.pack("=IHHII", 16 + len(body), type_, _MAKE, 0, 0)
    return Request(what=what, data=header + body)


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)
