import struct

from pyroute2.netlink.rtnl.tcmsg import tcmsg

from runtime.kernel.netlink import Request
from runtime.network.shaping import limit, make_shaper, redirect


def decoded(request: Request) -> tcmsg:
    """Read a message as another implementation does."""
    message = tcmsg(request.data)
    message.decode()
    return message


def test_a_limit_is_a_token_bucket_at_the_root() -> None:
    request = limit("what fy0 receives", 7, 10_000_000)
    message = decoded(request)
    assert request.what == "limit what fy0 receives"
    assert len(request.data) == struct.unpack_from("=I", request.data)[0]
    assert (message["index"], message["parent"]) == (7, 0xFFFFFFFF)
    assert message.get_attr("TCA_KIND") == "tbf"
    parameters = message.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    assert parameters["rate"] == 1_250_000
    assert parameters["limit"] == 1_250_000 // 20 + (128 << 10)


def test_a_rate_of_more_than_32_bits_is_told_in_64() -> None:
    data = limit("x", 7, 100_000_000_000).data
    assert struct.pack("=HHQ", 12, 4, 12_500_000_000) in data
    assert decoded(limit("x", 7, 100_000_000_000)).get_attr("TCA_KIND") == "tbf"


def test_what_arrives_is_led_to_the_shaper() -> None:
    queue, filter_ = (decoded(request) for request in redirect("fy0", 7, 9))
    assert queue.get_attr("TCA_KIND") == "ingress"
    assert queue["parent"] == 0xFFFFFFF1
    assert filter_.get_attr("TCA_KIND") == "u32"
    assert filter_["parent"] == queue["handle"] == 0xFFFF0000
    (action,) = filter_.get_attr("TCA_OPTIONS").get_attr("TCA_U32_ACT")["attrs"]
    assert action[1].get_attr("TCA_ACT_KIND") == "mirred"
    mirred = action[1].get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
    assert (mirred["eaction"], mirred["ifindex"]) == (1, 9)


def test_a_shaper_is_an_ifb() -> None:
    request = make_shaper("fs0123456789ab")
    assert b"ifb" in request.data
    assert b"fs0123456789ab" in request.data
    assert request.what == "make the shaper fs0123456789ab"
