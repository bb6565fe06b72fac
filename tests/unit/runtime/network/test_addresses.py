import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.network.addresses import AddressPool, parse_subnets
from store.errors import InvalidArgumentError, ResourceExhaustedError


def pool(subnet: str) -> AddressPool:
    return AddressPool(ipaddress.ip_network(subnet))


def test_gateway_and_broadcast_are_nobodys() -> None:
    small = pool("10.0.0.0/29")
    assert small.gateway == "10.0.0.1"
    assert [small.allocate() for _ in range(5)] == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(ResourceExhaustedError, match=r"all 5 of 10\.0\.0\.0/29"):
        small.allocate()


def test_ipv6_has_no_broadcast() -> None:
    small = pool("fd00::/126")
    assert [small.allocate(), small.allocate()] == ["fd00::2", "fd00::3"]
    with pytest.raises(ResourceExhaustedError):
        small.allocate()


def test_the_freed_longest_ago_comes_back_first() -> None:
    small = pool("10.0.0.0/29")
    given_out = [small.allocate() for _ in range(5)]
    small.free(given_out[3])
    small.free(given_out[1])
    assert small.allocate() == "10.0.0.3"
    assert small.allocate() == "10.0.0.5"


def test_after_a_restart_the_next_is_beyond_those_in_use() -> None:
    fresh = pool("10.0.0.0/24")
    assert fresh.take("10.0.0.9")
    assert not fresh.take("10.0.0.9")
    assert fresh.allocate() == "10.0.0.10"


@pytest.mark.parametrize("address", ["10.0.1.2", "10.0.0.1", "10.0.0.255", "fd00::2"])
def test_what_is_no_pods_is_not_taken(address: str) -> None:
    fresh = pool("10.0.0.0/24")
    assert not fresh.take(address)
    fresh.free(address)
    assert len(fresh) == 0


@given(st.lists(st.integers(0, 20), max_size=60))
def test_no_address_is_ever_given_twice(moves: list[int]) -> None:
    small, used = pool("10.0.0.0/28"), list[str]()
    for move in moves:
        if move < len(used):
            small.free(used.pop(move))
        elif len(used) < 13:
            address = small.allocate()
            assert address not in used
            used.append(address)
    assert len(small) == len(used)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["10.1.2.3/16"], ["10.1.0.0/16"]),
        ([" 10.0.0.0/24 ", "fd00::/64"], ["10.0.0.0/24", "fd00::/64"]),
        (["fd00::/64"], ["fd00::/64"]),
    ],
)
def test_ranges_are_parsed(texts: list[str], expected: list[str]) -> None:
    assert [str(subnet) for subnet in parse_subnets(texts, "f")] == expected


@pytest.mark.parametrize(
    "texts", [[], [""], ["10.0.0.0/31"], ["x"], ["10.0.0.0/8", "11.0.0.0/8"], ["fd00::/128"]]
)
def test_bad_ranges_name_the_field(texts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"network\.subnets"):
        parse_subnets(texts, "network.subnets")
