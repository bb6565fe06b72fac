"""The bridge network on the running kernel, with real sockets at both ends."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel.netlink import Netlink, Request
from runtime.network import AttachRequest, Network, PortMapping
from runtime.network.bridge import BridgeNetwork
from runtime.network.links import link_name
from runtime.network.linux import LinuxWires
from runtime.network.wires import BridgeConfig, PodLink
from store.errors import Error, UnavailableError
from tests.contracts.network import SUBNET, Bench, NetworkContract
from tests.fakes.network import memory_records
from tests.listing import descriptors
from tests.waiting import until
from tests.wired import (
    Node,
    connect_udp,
    links,
    links_inside,
    listening,
    node,
    outside,
    reach,
    run,
    run_inside,
    tables,
)

pytestmark = pytest.mark.root

CONFIG = BridgeConfig(name="ferry-test", subnets=("10.99.0.0/24",))
GATEWAY = "10.99.0.1"


class RealBench:
    def __init__(self, pods: Node) -> None:
        self._pods = pods

    async def network(self) -> Network:
        return await self._pods.restart()

    def netns(self, name: str) -> Path:
        return self._pods.netns(name)


class TestBridgeNetwork(NetworkContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        before = links(), tables()
        async with node(tmp_path / "pods", replace(CONFIG, subnets=(SUBNET,))) as pods:
            yield RealBench(pods)
        assert (links(), tables()) == before


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Node]:
    before = links(), tables()
    async with node(tmp_path / "pods", CONFIG) as made:
        yield made
    assert (links(), tables()) == before


def tcp(host_port: int, host_ip: str = "") -> PortMapping:
    return PortMapping(protocol="tcp", container_port=80, host_port=host_port, host_ip=host_ip)


async def test_pods_reach_each_other_and_the_node(pods: Node) -> None:
    a, b = await pods.attach("a"), await pods.attach("b")
    with listening(pods.netns("b"), 80) as server:
        assert reach(pods.netns("a"), server, b.addresses[0], 80) == a.addresses[0]
        assert reach(None, server, b.addresses[0], 80) == GATEWAY
    with listening(None, 8000) as server:
        assert reach(pods.netns("a"), server, GATEWAY, 8000) == a.addresses[0]


async def test_a_pod_is_the_node_where_it_leaves_its_range(pods: Node, tmp_path: Path) -> None:
    await pods.attach("a")
    with outside(tmp_path / "outside") as beyond, listening(beyond, 80) as server:
        assert reach(pods.netns("a"), server, "192.0.2.2", 80) == "192.0.2.1"


async def test_a_host_port_is_reached_from_everywhere(pods: Node, tmp_path: Path) -> None:
    a = await pods.attach("a", tcp(8080))
    await pods.attach("b")
    with outside(tmp_path / "outside") as beyond, listening(pods.netns("a"), 80) as server:
        assert reach(beyond, server, "192.0.2.1", 8080) == "192.0.2.2"
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        assert reach(None, server, "192.0.2.1", 8080) in {GATEWAY, "192.0.2.1"}
        assert reach(None, server, GATEWAY, 8080) == GATEWAY
        assert reach(pods.netns("b"), server, "192.0.2.1", 8080) == GATEWAY
        assert reach(pods.netns("a"), server, "192.0.2.1", 8080) == GATEWAY
        assert reach(pods.netns("a"), server, a.addresses[0], 80) == a.addresses[0]


async def test_a_host_port_on_one_address_is_only_there(pods: Node, tmp_path: Path) -> None:
    await pods.attach("a", tcp(8080, "127.0.0.1"))
    with outside(tmp_path / "outside") as beyond, listening(pods.netns("a"), 80) as server:
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        with pytest.raises(ConnectionRefusedError):
            reach(beyond, server, "192.0.2.1", 8080)


async def test_a_freed_host_port_is_refused(pods: Node) -> None:
    attached = await pods.attach("a", tcp(8080))
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        await pods.network.detach("a")
        with pytest.raises(ConnectionRefusedError):
            reach(None, server, "127.0.0.1", 8080)
    assert attached.addresses[0] not in tables()


async def test_a_host_port_that_stays_at_first_goes_with_the_retry(
    pods: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = await pods.attach("a", tcp(8080))

    def refuse(_: Netlink, requests: Sequence[Request]) -> None:
        monkeypatch.undo()
        raise OSError(errno.ETIMEDOUT, f"cannot {requests[0].what}: Connection timed out")

    monkeypatch.setattr(Netlink, "send", refuse)
    with pytest.raises(Error, match=r"cannot disconnect sandbox a: .*timed out"):
        await pods.network.detach("a")
    assert attached.addresses[0] in tables()
    await pods.network.detach("a")
    assert attached.addresses[0] not in tables()


async def test_a_client_with_old_datagrams_finds_the_new_pod(pods: Node) -> None:
    dns = PortMapping(protocol="udp", container_port=53, host_port=5353)
    old, new = pods.netns("old"), pods.netns("new")
    with (
        listening(old, 53, udp=True) as first,
        listening(new, 53, udp=True) as second,
        connect_udp(None, "127.0.0.1", 5353) as client,
    ):
        await pods.attach("old", dns)
        client.send(b"1")
        assert first.recvfrom(9)[0] == b"1"
        await pods.network.detach("old")
        await pods.attach("new", dns)
        client.send(b"2")
        data, peer = second.recvfrom(9)
        assert data == b"2"
        second.sendto(b"3", peer)
        assert client.recv(9) == b"3"


async def test_pods_do_not_reach_what_listens_on_the_nodes_loopback(pods: Node) -> None:
    await pods.attach("a", tcp(8080))
    netns = pods.netns("a")
    # What a pod with NET_ADMIN could do (CVE-2020-8558): send 127.0.0.2 to the node.
    run_inside(netns, "ip", "address", "flush", "dev", "lo")
    run_inside(netns, "sysctl", "-w", "net.ipv4.conf.all.route_localnet=1")
    run_inside(netns, "ip", "route", "flush", "table", "local", "127.0.0.0/8")
    run_inside(netns, "ip", "route", "add", "127.0.0.0/8", "via", GATEWAY, "dev", "eth0")
    with listening(None, 53, address="127.0.0.1", udp=True) as server:
        server.settimeout(0.3)
        with connect_udp(netns, "127.0.0.1", 53) as client:
            client.send(b"x")
            with pytest.raises(TimeoutError):
                server.recvfrom(9)


async def test_dual_stack(tmp_path: Path) -> None:
    config = replace(CONFIG, subnets=("10.99.0.0/24", "fd00:99::/64"))
    async with node(tmp_path / "pods", config) as pods:
        a = await pods.attach("a", tcp(8080))
        b = await pods.attach("b")
        assert [ipaddress.ip_address(address).version for address in a.addresses] == [4, 6]
        with listening(pods.netns("a"), 80, address="::") as server:
            assert reach(pods.netns("b"), server, a.addresses[1], 80) == b.addresses[1]
            assert reach(None, server, "fd00:99::1", 8080) == "fd00:99::1"
            assert reach(pods.netns("b"), server, "fd00:99::1", 8080) == "fd00:99::1"
            assert reach(None, server, "127.0.0.1", 8080) == f"::ffff:{GATEWAY}"
            with pytest.raises(ConnectionRefusedError):
                reach(None, server, "::1", 8080)
        settings = "/proc/sys/net/ipv6/conf/eth0/accept_ra"
        assert run_inside(pods.netns("a"), "cat", settings).strip() == "0"


async def test_interfaces_go_although_the_namespace_stays(pods: Node) -> None:
    await pods.attach("a")
    netns = pods.netns("a")
    assert links_inside(netns) >= {"lo", "eth0"}
    await pods.network.detach("a", netns)
    await until(lambda: "eth0" not in links_inside(netns))
    await pods.attach("a")
    assert "eth0" in links_inside(netns)


async def test_the_same_sandbox_is_attached_again_at_once(pods: Node) -> None:
    await pods.attach("a")
    await pods.network.detach("a")
    again = await pods.attach("a")
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, again.addresses[0], 80) == GATEWAY


async def test_two_hundred_pods_leave_nothing(pods: Node) -> None:
    before, open_before = (links(), tables()), descriptors()
    for number in range(200):
        await pods.attach(f"pod{number}", tcp(1000 + number))
    for number in range(200):
        await pods.network.detach(f"pod{number}")
        pods.namespaces.remove(pods.directory / f"pod{number}")
    await until(lambda: links() == before[0])
    assert tables() == before[1]
    assert descriptors() <= open_before
    assert list(pods.records.pods.walk()) == []


async def test_pods_keep_working_across_a_restart(pods: Node) -> None:
    await pods.attach("a", tcp(8080))
    await pods.attach("b")
    network = await pods.restart()
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        await network.recover({"a", "b"})
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        assert reach(pods.netns("b"), server, GATEWAY, 8080) == GATEWAY


async def test_recovery_deletes_interfaces_that_no_record_knows(pods: Node) -> None:
    stranger = link_name(CONFIG.name, "crashed")
    await pods.attach("a")
    run("ip", "link", "add", stranger, "type", "veth", "peer", "name", "stranger-peer")
    run("ip", "link", "set", stranger, "up", "master", CONFIG.name)
    network = await pods.restart()
    await network.recover({"a"})
    await until(lambda: stranger not in links())
    assert link_name(CONFIG.name, "a") in links()


async def test_recovery_frees_records_without_an_interface(pods: Node) -> None:
    lost = PodLink(link="fy-lost", addresses=("10.99.0.9",), ports=(tcp(8080),))
    pods.records.pods.add(CONFIG.name, "lost", lost)
    network = await pods.restart()
    await network.recover(())
    assert list(pods.records.pods.walk()) == []
    assert "10.99.0.9" not in tables()
    await pods.attach("new", tcp(8080))


async def test_a_crash_before_the_interface_is_made_is_detached(pods: Node) -> None:
    known = PodLink(link="fy-known", addresses=("10.99.0.9",), ports=(tcp(8080),))
    pods.records.pods.add(CONFIG.name, "known", known)
    network = await pods.restart()
    await network.recover({"known"})
    assert "10.99.0.9" in tables()
    await network.detach("known")
    assert "10.99.0.9" not in tables()


async def test_flushed_rules_are_made_again(pods: Node) -> None:
    await pods.attach("a", tcp(8080))
    run("nft", "flush", "ruleset")
    await pods.attach("b", tcp(9090))
    with listening(pods.netns("a"), 80) as first, listening(pods.netns("b"), 80) as second:
        assert reach(None, first, "127.0.0.1", 8080) == GATEWAY
        assert reach(None, second, "127.0.0.1", 9090) == GATEWAY
        run("nft", "flush", "ruleset")
        await pods.network.check()
        assert reach(None, first, "127.0.0.1", 8080) == GATEWAY


async def test_a_deleted_bridge_is_made_again_with_its_pods(pods: Node) -> None:
    a = await pods.attach("a")
    run("ip", "link", "delete", CONFIG.name)
    await pods.network.check()
    assert pods.network.status().ready
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, a.addresses[0], 80) == GATEWAY


async def test_a_failure_in_the_pod_leaves_nothing(pods: Node) -> None:
    netns = pods.netns("a")
    run_inside(netns, "ip", "link", "add", "eth0", "type", "bridge")
    before = links(), tables()
    with pytest.raises(
        Error, match=r"cannot connect sandbox a: cannot make the interface .*exists"
    ):
        await pods.attach("a", tcp(8080))
    assert (links(), tables()) == before
    run_inside(netns, "ip", "link", "delete", "eth0")
    run_inside(netns, "ip", "link", "add", "other", "type", "bridge")
    run_inside(netns, "ip", "link", "set", "other", "up")
    run_inside(netns, "ip", "route", "add", "default", "dev", "other")
    with pytest.raises(Error, match="cannot add the default route"):
        await pods.attach("a", tcp(8080))
    assert (links(), tables()) == before
    assert links_inside(netns) == {"lo", "other"}
    assert list(pods.records.pods.walk()) == []


async def test_two_daemons_do_not_disturb_each_other(pods: Node, tmp_path: Path) -> None:
    other = BridgeConfig(name="ferry-other", subnets=("10.98.0.0/24",))
    a = await pods.attach("a", tcp(8080))
    async with node(tmp_path / "others", other) as others:
        b = await others.attach("a", tcp(9090))
        with listening(pods.netns("a"), 80) as first, listening(others.netns("a"), 80) as second:
            assert reach(None, first, "127.0.0.1", 8080) == GATEWAY
            assert reach(None, second, "127.0.0.1", 9090) == "10.98.0.1"
            assert reach(pods.netns("a"), second, GATEWAY, 9090) == "10.98.0.1"
            assert reach(others.netns("a"), first, a.addresses[0], 80) == GATEWAY
            assert reach(pods.netns("a"), second, b.addresses[0], 80) == "10.98.0.1"
    with listening(pods.netns("a"), 80) as first:
        assert reach(None, first, "127.0.0.1", 8080) == GATEWAY


async def test_a_bridge_of_another_daemon_is_not_touched(pods: Node) -> None:
    second = BridgeNetwork(CONFIG, memory_records(), LinuxWires(CONFIG))
    await second.recover(())
    assert not second.status().ready
    assert second.status().message == (
        f"cannot use the bridge {CONFIG.name}: another daemon does; give this one another"
        " network.bridge and network.subnets"
    )
    with pytest.raises(UnavailableError, match="another daemon does"):
        await second.attach(AttachRequest(sandbox_id="x", netns=pods.netns("x")))
    await second.close()


async def test_a_range_that_the_node_uses_is_refused(pods: Node) -> None:
    config = BridgeConfig(name="ferry-other", subnets=("10.0.0.0/8",))
    network = BridgeNetwork(config, memory_records(), LinuxWires(config))
    await network.recover(())
    status = network.status()
    assert not status.ready
    assert status.reason == "BridgeSetUpFailed"
    assert f"interface {CONFIG.name} has {GATEWAY}/24" in status.message
    assert "ferry-other" not in links()
    await network.close()
    assert pods.network.status().ready


async def test_a_chain_that_drops_forwarded_packets_is_named(pods: Node) -> None:
    run("nft", "add table ip filter")
    drop = "{ type filter hook forward priority 0; policy drop; }"
    run("nft", f"add chain ip filter FORWARD {drop}")
    network = await pods.restart()
    await network.recover(())
    assert network.status().ready
    assert "chain ip filter FORWARD drops forwarded packets" in network.status().message
    run("nft", "delete table ip filter")


async def test_without_nft_the_status_says_what_to_install(tmp_path: Path) -> None:
    config = replace(CONFIG, nft=str(tmp_path / "nft"))
    network = BridgeNetwork(config, memory_records(), LinuxWires(config))
    await network.recover(())
    assert "install the package nftables" in network.status().message
    await network.close()
    run("ip", "link", "delete", CONFIG.name)


async def test_the_pod_cidr_moves_the_bridge(pods: Node) -> None:
    await pods.network.set_pod_cidr("10.97.0.0/24,fd00:97::/64")
    addresses = run("ip", "-brief", "address", "show", CONFIG.name)
    assert "10.97.0.1/24" in addresses
    assert "fd00:97::1/64" in addresses
    assert GATEWAY not in addresses
    await pods.attach("a")
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, "10.97.0.2", 80) == "10.97.0.1"


async def test_the_mtu_is_that_of_the_way_out(tmp_path: Path) -> None:
    with outside(tmp_path / "outside"):
        run("ip", "link", "set", "out0", "mtu", "1400")
        run("ip", "route", "add", "default", "via", "192.0.2.2")
        async with node(tmp_path / "pods", CONFIG) as pods:
            await pods.attach("a")
            shown = run_inside(pods.netns("a"), "ip", "link", "show", "eth0")
            assert "mtu 1400" in shown
            assert "mtu 1400" in run("ip", "link", "show", CONFIG.name)


def test_sockets_close_with_the_wires() -> None:
    before = descriptors()
    wires = LinuxWires(CONFIG)
    wires.close()
    assert descriptors() <= before
    with pytest.raises(OSError, match="no interface"):
        socket.if_nametoindex(CONFIG.name)


async def test_elements_sent_are_those_of_the_script(tmp_path: Path) -> None:
    config = replace(CONFIG, subnets=("10.99.0.0/24", "fd00:99::/64"))
    mappings = [
        PortMapping(protocol=protocol, container_port=80, host_port=port, host_ip=host_ip)
        for port, protocol in enumerate(("tcp", "udp", "sctp"), start=7000)
        for host_ip in ("127.0.0.1", "192.0.2.1", "2001:db8::1")
    ]
    mappings += [
        PortMapping(protocol=protocol, container_port=65535, host_port=8000)
        for protocol in ("TCP", "UDP", "SCTP")
    ]
    async with node(tmp_path / "pods", config) as pods:
        await pods.attach("a", *mappings)
        sent = tables()
        network = await pods.restart()
        await network.recover({"a"})
        assert sorted(tables().split()) == sorted(sent.split())
        assert "127.0.0.1 . sctp . 7002 : 10.99.0.2 . 80" in sent
        assert "2001:db8::1 . udp . 7001 : fd00:99::2 . 80" in sent
        assert "tcp . 8000 : fd00:99::2 . 65535" in sent
        await network.detach("a")
        assert "10.99.0.2" not in tables()
        assert "fd00:99::2" not in tables()


async def test_many_pods_at_once(pods: Node) -> None:
    before = links(), tables()
    names = [f"pod{number}" for number in range(40)]
    async with asyncio.TaskGroup() as group:
        attached = [
            group.create_task(pods.attach(name, tcp(1000 + number)))
            for number, name in enumerate(names)
        ]
    assert len({task.result().addresses for task in attached}) == len(names)
    with listening(pods.netns(names[-1]), 80) as server:
        assert reach(None, server, "127.0.0.1", 1039) == GATEWAY
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(pods.network.detach(name))
    await until(lambda: links() == before[0])
    assert tables() == before[1]
