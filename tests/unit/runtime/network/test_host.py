import ipaddress
from pathlib import Path

import pytest

from runtime.network import host
from store.errors import UnavailableError


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a stand-in for /proc/sys/net."""
    for name, value in (
        ("ipv4/ip_forward", "0"),
        ("ipv6/conf/all/forwarding", "0"),
        ("ipv6/conf/eth0/accept_ra", "1"),
        ("ipv6/conf/eth1/accept_ra", "0"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    monkeypatch.setattr(host, "_NET", tmp_path)
    return tmp_path


def test_forwarding_ipv6_keeps_the_nodes_own_router(net: Path) -> None:
    host.forward([ipaddress.ip_network("10.0.0.0/24")])
    assert (net / "ipv4/ip_forward").read_text() == "1"
    assert (net / "ipv6/conf/eth0/accept_ra").read_text() == "1\n"
    host.forward([ipaddress.ip_network("fd00::/64")])
    assert (net / "ipv6/conf/all/forwarding").read_text() == "1"
    assert (net / "ipv6/conf/eth0/accept_ra").read_text() == "2"
    assert (net / "ipv6/conf/eth1/accept_ra").read_text() == "0\n"


def test_what_is_right_already_is_not_written(net: Path) -> None:
    (net / "ipv4/ip_forward").write_text("1\n")
    host.forward([ipaddress.ip_network("10.0.0.0/24")])
    assert (net / "ipv4/ip_forward").read_text() == "1\n"


def test_the_mtu_without_a_way_out_is_ethernets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface\tDestination\neth0\t0000FEA9\n")
    monkeypatch.setattr(host, "_ROUTES", routes)
    assert host.default_mtu() == 1500
    routes.write_text("Iface\tDestination\nlo\t00000000\n")
    assert host.default_mtu() == 65536


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_nft_says_is_quoted(tmp_path: Path) -> None:
    refusing = program(tmp_path / "nft", "echo 'Error: no such table' >&2; exit 1")
    with pytest.raises(UnavailableError, match="Error: no such table"):
        host.run_nft(refusing, "x")


def test_only_dropping_forward_chains_are_obstacles(tmp_path: Path) -> None:
    chains = """[{"metainfo": {}},
      {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward",
                 "policy": "drop"}},
      {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input",
                 "policy": "drop"}},
      {"chain": {"family": "ip", "table": "nat", "name": "FORWARD", "hook": "forward",
                 "policy": "accept"}},
      {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}}]"""
    (tmp_path / "chains.json").write_text(f'{{"nftables": {chains}}}')
    listing = program(tmp_path / "nft", f"cat {tmp_path}/chains.json")
    assert host.forward_obstacles(listing) == ["ip filter FORWARD"]
