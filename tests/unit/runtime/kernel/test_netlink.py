import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from runtime.kernel import netlink
from runtime.kernel.netlink import Netlink, Reply, Request, Template

DUMP = netlink.REQUEST | netlink.DUMP
CHANGE = netlink.REQUEST | netlink.ACK


def set_link(name: str, **fields: int) -> Request:
    attributes = (("IFLA_IFNAME", name),)
    return netlink.encode(f"change {name}", ifinfmsg(), 16, CHANGE, attributes, fields)


def test_a_dump_lists_every_interface() -> None:
    with Netlink(netlink.ROUTE) as kernel:
        replies = kernel.dump(netlink.encode("list", ifinfmsg(), 18, DUMP))
    names = []
    for data in replies:
        message = ifinfmsg(data)
        message.decode()
        names.append(message.get_attr("IFLA_IFNAME"))
    assert "lo" in names


@pytest.mark.root
def test_the_first_refusal_of_a_batch_is_raised_with_its_subject() -> None:
    with Netlink(netlink.ROUTE) as kernel:
        with pytest.raises(OSError, match="cannot change none0: No such device") as refused:
            kernel.send([set_link("lo"), set_link("none0"), set_link("none1")])
        assert refused.value.errno == errno.ENODEV
        kernel.send([set_link("lo")])


@pytest.mark.root
def test_the_kernels_own_words_come_first() -> None:
    kind = {"attrs": (("IFLA_INFO_KIND", "nonsense"),)}
    attributes = (("IFLA_IFNAME", "fy-x"), ("IFLA_LINKINFO", kind))
    make = netlink.encode("make x", ifinfmsg(), 16, CHANGE | netlink.CREATE, attributes)
    with Netlink(netlink.ROUTE) as kernel, pytest.raises(OSError, match="cannot make x: Unknown"):
        kernel.send([make])


def test_a_refused_dump_is_an_error() -> None:
    with (
        Netlink(netlink.ROUTE) as kernel,
        pytest.raises(OSError, match="cannot list: "),
    ):
        kernel.dump(netlink.encode("list", ifinfmsg(), 0x7000, DUMP))


def test_an_error_without_words_is_named_by_its_number() -> None:
    body = struct.pack("=IHHIIi16x", 36, 2, 0, 1, 0, -errno.EBUSY)
    reply = Reply(type=2, number=1, flags=0, data=body)
    assert reply.error() == (errno.EBUSY, "Device or resource busy")


@given(st.binary(max_size=64))
def test_malformed_attributes_end_the_reading(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in netlink.attributes(data)) <= len(data)


def test_a_template_is_the_message_with_other_values() -> None:
    template = Template(set_link("mark12"), b"mark12")
    filled = template.fill("change it", b"eth123")
    assert filled.data == set_link("eth123").data
    assert filled.what == "change it"


def test_a_template_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="exactly once"):
        Template(set_link("lo"), b"nowhere")
    template = Template(set_link("mark12"), b"mark12")
    with pytest.raises(ValueError, match="does not fit"):
        template.fill("x", b"short")
    with pytest.raises(ValueError, match="longer"):
        template.fill("x", b"mark34", b"more")
