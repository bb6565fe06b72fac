import pytest

from runtime.network import DnsConfig
from runtime.pods.dns import resolv_conf
from store.errors import InvalidArgumentError


def test_each_part_has_its_line() -> None:
    dns = DnsConfig(servers=("10.0.0.10", "fd00::1"), searches=("a.b", "c"), options=("ndots:5",))
    assert resolv_conf(dns) == (
        "search a.b c\nnameserver 10.0.0.10\nnameserver fd00::1\noptions ndots:5\n"
    )


def test_nothing_asked_is_an_empty_file() -> None:
    assert resolv_conf(DnsConfig()) == ""


@pytest.mark.parametrize("value", ["1.1.1.1\nnameserver 6.6.6.6", "a b", "x\0"])
def test_a_value_stays_in_its_line(value: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"dns_config\.servers"):
        resolv_conf(DnsConfig(servers=(value,)))
