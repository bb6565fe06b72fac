from pathlib import Path

from runtime.stats import Interface, interfaces

TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo
    lo:  500       5    0    0    0     0          0         0  500     5 0 0 0 0 0 0
  net1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
  eth0:1380395176   49720  1    2    0     0          0         0  3146318 31955 3 4 0 0 0 0
broken: 1 2 3
"""
ETH0 = Interface(
    name="eth0",
    rx_bytes=1380395176,
    rx_packets=49720,
    rx_errors=1,
    rx_dropped=2,
    tx_bytes=3146318,
    tx_packets=31955,
    tx_errors=3,
    tx_dropped=4,
)
NET1 = Interface(
    name="net1",
    rx_bytes=1,
    rx_packets=2,
    rx_errors=3,
    rx_dropped=4,
    tx_bytes=9,
    tx_packets=10,
    tx_errors=11,
    tx_dropped=12,
)


def test_every_interface_is_read() -> None:
    found = list(interfaces.parse(TEXT))
    assert [one.name for one in found] == ["lo", "net1", "eth0"]
    assert found[1:] == [NET1, ETH0]


def test_the_main_interface_comes_first_and_the_loopback_not_at_all() -> None:
    network = interfaces.network(interfaces.parse(TEXT), 7)
    assert network.interfaces == (ETH0, NET1)
    assert network.timestamp == 7


def test_namespaces_that_are_gone_are_left_out(tmp_path: Path) -> None:
    assert interfaces.read({"pod": tmp_path / "net"}) == {}
    assert interfaces.read({}) == {}
