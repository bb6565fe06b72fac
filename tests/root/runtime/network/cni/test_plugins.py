"""Pods connected by the distribution's plugins, and by scripts that behave badly after them."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.bench.peer import PeerError, find
from runtime.kernel.processes import stat_fields
from runtime.network import PortMapping
from runtime.pidfd import identify
from store.errors import DeadlineExceededError, Error, NotFoundError, UnavailableError
from tests.cni import (
    BANDWIDTH,
    ONWARD,
    PORTMAP,
    CniNode,
    bridge_plugin,
    chain,
    cni_node,
    script,
    write,
)
from tests.listing import descriptors
from tests.waiting import until
from tests.wired import links, links_inside, listening, reach, run, run_inside

pytestmark = pytest.mark.root

GATEWAY = "10.99.0.1"
SUBNET = "10.99.0.0/24"
SPOKEN = """echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'"""


def tcp(port: int) -> PortMapping:
    return PortMapping(protocol="tcp", container_port=80, host_port=port)


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[CniNode]:
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), PORTMAP, BANDWIDTH)
    async with cni_node(tmp_path, document) as node:
        yield node
    assert node.leased() == set()
    assert list(node.records.pods.walk()) == []


async def test_a_chain_gives_address_host_port_and_limits(pods: CniNode) -> None:
    limits = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M"}
    a = await pods.attach("a", tcp(8080), annotations=limits)
    b = await pods.attach("b")
    assert pods.leased() == {*a.addresses, *b.addresses}
    with listening(pods.netns("a"), 80) as server:
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
        assert reach(pods.netns("b"), server, a.addresses[0], 80) == b.addresses[0]
        assert reach(pods.netns("b"), server, GATEWAY, 8080) in {GATEWAY, b.addresses[0]}
    shaped = run("tc", "qdisc", "show")
    assert re.search(r"tbf .*rate 10Mbit", shaped)
    assert re.search(r"tbf .*rate 20Mbit", shaped)
    await pods.network.detach("a")
    assert "tbf" not in run("tc", "qdisc", "show")
    assert pods.leased() == set(b.addresses)
    with listening(pods.netns("a"), 80) as server, pytest.raises(ConnectionRefusedError):
        reach(None, server, "127.0.0.1", 8080)


async def test_two_families(tmp_path: Path) -> None:
    plugin = bridge_plugin(tmp_path / "leases", SUBNET, "fd00:99::/64")
    async with cni_node(tmp_path, chain(plugin, PORTMAP)) as pods:
        a, b = await pods.attach("a"), await pods.attach("b")
        four, six = a.addresses
        assert four.startswith("10.99.0.")
        assert six.startswith("fd00:99::")
        with listening(pods.netns("a"), 80, address="::") as server:
            assert reach(pods.netns("b"), server, six, 80) == b.addresses[1]


async def test_a_single_configuration_of_an_old_version(tmp_path: Path) -> None:
    plugin = bridge_plugin(tmp_path / "leases", SUBNET)
    document = {"cniVersion": "0.3.1", "name": "podnet", **plugin}
    async with cni_node(tmp_path, document) as pods:
        address = (await pods.attach("a")).addresses[0]
        assert address in run_inside(pods.netns("a"), "ip", "address", "show", "eth0")
        await pods.network.detach("a")
        assert pods.leased() == set()


async def test_pods_keep_their_network_across_a_restart(pods: CniNode) -> None:
    kept = await pods.attach("kept", tcp(8080))
    await pods.attach("lost", tcp(9090))
    for path in pods.configurations.iterdir():
        path.unlink()  # a DEL is of the configuration that there was at the ADD
    network = await pods.restart()
    await network.recover({"kept"})
    assert pods.leased() == set(kept.addresses)
    assert network.status().reason == "NoConfiguration"
    with listening(pods.netns("kept"), 80) as server:
        assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
    await network.detach("kept")
    assert pods.leased() == set()


async def test_a_namespace_that_is_gone_is_no_reason_to_keep_the_address(pods: CniNode) -> None:
    await pods.attach("a", tcp(8080))
    pods.remove("a")
    await pods.network.detach("a")
    assert pods.leased() == set()
    await pods.attach("b")
    pods.remove("b")
    pods.netns("b").parent.mkdir(exist_ok=True)
    await pods.network.detach("b")
    assert pods.leased() == set()


async def test_what_is_left_of_a_pin_is_no_namespace(pods: CniNode) -> None:
    await pods.attach("a")
    netns = pods.netns("a")
    pods.namespaces.remove(netns.parent)
    netns.parent.mkdir()
    netns.touch()
    await pods.network.detach("a")
    assert pods.leased() == set()


async def test_a_sandbox_without_a_record_is_disconnected(pods: CniNode) -> None:
    await pods.attach("a")
    pods.records.pods.delete("cni", "a")
    network = await pods.restart()
    await network.recover({"a"})
    assert len(pods.leased()) == 1
    await network.detach("a", pods.netns("a"))
    assert pods.leased() == set()
    assert links_inside(pods.netns("a")) == {"lo"}


async def test_pods_are_checked_after_a_restart(pods: CniNode) -> None:
    await pods.attach("whole")
    await pods.attach("broken")
    run_inside(pods.netns("broken"), "ip", "link", "delete", "eth0")
    network = await pods.restart()
    await network.recover({"whole", "broken"})
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(network.maintain())
        await until(lambda: "broken" in network.status().message)
        upkeep.cancel()
    status = network.status()
    assert status.ready
    assert "plugin bridge CHECK" in status.message
    assert "whole" not in status.message
    await network.detach("broken")
    assert "CHECK" not in network.status().message


async def test_forty_pods_leave_nothing(pods: CniNode) -> None:
    await pods.attach("first")
    before = links(), descriptors()
    names = [f"pod{number}" for number in range(40)]
    for start in range(0, 40, 10):
        async with asyncio.TaskGroup() as group:
            for name in names[start : start + 10]:
                group.create_task(pods.attach(name))
    assert len(pods.leased()) == 41
    for name in names:
        await pods.network.detach(name)
        pods.remove(name)
    assert len(pods.leased()) == 1
    await until(lambda: links() == before[0])
    assert descriptors() <= before[1]


# --- plugins that misbehave, last in a chain whose first has given an address


def answering(verbs: dict[str, str]) -> str:
    """Return a script that does what it is told for some verbs, and well for the others."""
    cases = "".join(f"{verb}) {command};;\n" for verb, command in verbs.items())
    return f'case "$CNI_COMMAND" in\n{cases}VERSION) {SPOKEN};;\nADD) {ONWARD};;\nesac'


async def attach_fails(tmp_path: Path, text: str, timeout: float = 30.0) -> str:
    """Return the error of an ADD that a script ends; assert that nothing is left of the pod."""
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), {"type": "bad"})
    script(tmp_path / "bin", "bad", text)
    places = (tmp_path / "bin",)
    async with cni_node(tmp_path, document, directories=places, timeout=timeout) as pods:
        netns = pods.netns("a")
        with pytest.raises(Error) as failed:
            await pods.attach("a")
        assert pods.leased() == set()
        assert links_inside(netns) == {"lo"}
        assert {name for name in links() if name.startswith("veth")} == set()
        assert list(pods.records.pods.walk()) == []
    return str(failed.value)


async def test_a_crash_is_undone(tmp_path: Path) -> None:
    text = answering({"ADD": "echo half; echo why >&2; kill -SEGV $$"})
    assert await attach_fails(tmp_path, text) == (
        "cannot connect sandbox a: plugin bad ADD: it was killed by signal 11, "
        "it printed 'half', and 'why' to its standard error"
    )


async def test_garbage_is_undone(tmp_path: Path) -> None:
    error = await attach_fails(
        tmp_path, answering({"ADD": "head -c 2000000 /dev/zero | tr '\\0' x"})
    )
    assert error.startswith("cannot connect sandbox a: plugin bad ADD: no result")
    assert "xxx ...'" in error
    assert len(error) < 1000


async def test_no_address_is_undone(tmp_path: Path) -> None:
    error = await attach_fails(tmp_path, answering({"ADD": """echo '{"cniVersion": "1.0.0"}'"""}))
    assert error == (
        "cannot connect sandbox a: plugin bridge, bad ADD: no address for the pod, "
        """it printed '{"cniVersion": "1.0.0"}'"""
    )


async def test_a_plugin_that_fails_del_too_keeps_no_address(tmp_path: Path) -> None:
    text = answering({"ADD": "exit 3", "DEL": f"[ -e {tmp_path}/mended ] || exit 4"})
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), {"type": "bad"})
    script(tmp_path / "bin", "bad", text)
    async with cni_node(tmp_path, document, directories=(tmp_path / "bin",)) as pods:
        with pytest.raises(Error, match="plugin bad ADD: it ended with 3, it printed nothing"):
            await pods.attach("a")
        assert pods.leased() == set()
        assert pods.network.holds("a")
        with pytest.raises(Error, match="plugin bad DEL: it ended with 4"):
            await pods.network.detach("a")
        network = await pods.restart()
        await network.recover({"a"})
        assert network.holds("a")
        (tmp_path / "mended").touch()
        async with asyncio.TaskGroup() as group:
            upkeep = group.create_task(network.maintain(0.05))
            await until(lambda: not network.holds("a"))
            upkeep.cancel()


async def test_a_plugin_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    children = tmp_path / "children"
    text = answering({"ADD": f"echo so far; (setsid sleep 1000 & echo $! >{children}); sleep 1000"})
    error = await attach_fails(tmp_path, text, timeout=1.0)
    assert error == (
        "cannot connect sandbox a: plugin bad ADD: no end within 1 s, it printed 'so far'; it was "
        "killed with all it had started"
    )
    fields = stat_fields(int(children.read_text()))
    assert fields is None or fields[0] == b"Z"


async def test_a_cancelled_add_is_undone(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script(tmp_path / "bin", "bad", answering({"ADD": f"echo $$ >{started}; sleep 1000"}))
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), {"type": "bad"})
    async with cni_node(tmp_path, document, directories=(tmp_path / "bin",)) as pods:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            attach = group.create_task(pods.attach("a"))
            await until(lambda: started.exists() and started.read_text() != "")
            attach.cancel()
        assert attach.cancelled()
        with pytest.raises(NotFoundError):
            identify(int(started.read_text()))
        assert pods.leased() == set()
        assert links_inside(pods.netns("a")) == {"lo"}


async def test_a_hanging_del_does_not_keep_recovery(tmp_path: Path) -> None:
    text = answering({"DEL": f"[ -e {tmp_path}/mended ] || sleep 1000"})
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), {"type": "bad"})
    script(tmp_path / "bin", "bad", text)
    places = (tmp_path / "bin",)
    async with cni_node(tmp_path, document, directories=places, timeout=1.0) as pods:
        await pods.attach("a")
        network = await pods.restart()
        await network.recover(())
        assert network.holds("a")
        assert network.status().ready
        assert pods.leased() == set()
        with pytest.raises(DeadlineExceededError, match="plugin bad DEL: no end within 1 s"):
            await network.detach("a")
        (tmp_path / "mended").touch()


async def test_status_and_garbage_collection_of_version_1_1(tmp_path: Path) -> None:
    log, sick = tmp_path / "log", tmp_path / "sick"
    spoken = """echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}'"""
    refusal = """echo '{"code": 50, "msg": "no route", "details": "agent down"}'; exit 1"""
    result = """echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}]}'"""
    text = f"""case "$CNI_COMMAND" in
VERSION) {spoken};;
STATUS) [ ! -e {sick} ] || {{ {refusal}; }};;
ADD) {result};;
GC) cat >>{log}; echo >>{log};;
esac"""
    script(tmp_path / "bin", "modern", text)
    document = chain({"type": "modern"}, version="1.1.0", cniVersions=["1.0.0"])
    async with cni_node(tmp_path, document, directories=(tmp_path / "bin",)) as pods:
        await pods.attach("a")
        await pods.attach("b")
        network = await pods.restart()
        sick.touch()
        await network.recover({"a"})
        assert network.status().reason == "PluginNotReady"
        assert "plugin modern STATUS: no route; agent down (code 50)" in network.status().message
        with pytest.raises(UnavailableError, match="agent down"):
            await pods.attach("c")
        sick.unlink()
        await pods.attach("c")
        assert network.status().ready
        (first, last) = (json.loads(line) for line in log.read_text().splitlines())
        assert first["cni.dev/valid-attachments"] == []
        assert last["cni.dev/valid-attachments"] == [{"containerID": "a", "ifname": "eth0"}]
        assert last["cniVersion"] == "1.1.0"


def modern_plugins() -> Path:
    """Return plugins that speak 1.1.0: the peer's, built from their Go module."""
    try:
        folder = find().plugins
    except PeerError as error:
        pytest.skip(str(error))
    asked = subprocess.run(
        (folder / "bridge",),
        env={"CNI_COMMAND": "VERSION"},
        input='{"cniVersion": "1.1.0"}',
        capture_output=True,
        text=True,
        check=True,
    )
    if "1.1.0" not in json.loads(asked.stdout)["supportedVersions"]:
        pytest.skip(f"the plugins in {folder} do not speak 1.1.0 (python -m e2e.bench.peer)")
    return folder


async def test_plugins_of_version_1_1(tmp_path: Path) -> None:
    document = chain(bridge_plugin(tmp_path / "leases", SUBNET), PORTMAP, version="1.1.0")
    async with cni_node(tmp_path, document, directories=(modern_plugins(),)) as pods:
        a = await pods.attach("a", tcp(8080))
        (record,) = (pod for _, _, pod in pods.records.pods.walk())
        assert record.version == "1.1.0"
        network = await pods.restart()
        await network.recover({"a"})
        assert network.status().reason == "CniReady"
        async with asyncio.TaskGroup() as group:
            upkeep = group.create_task(network.maintain())
            with listening(pods.netns("a"), 80) as server:
                assert reach(None, server, "127.0.0.1", 8080) == GATEWAY
            upkeep.cancel()
        assert "CHECK" not in network.status().message
        assert pods.leased() == set(a.addresses)
        await network.detach("a")
        assert pods.leased() == set()


async def test_the_newest_version_that_all_speak_is_spoken(tmp_path: Path) -> None:
    plugin = bridge_plugin(tmp_path / "leases", SUBNET)
    document = chain(plugin, version="1.1.0", cniVersions=["0.4.0", "1.0.0"])
    async with cni_node(tmp_path, document) as pods:
        await pods.attach("a")
        (record,) = (pod for _, _, pod in pods.records.pods.walk())
        assert record.version == "1.0.0"
        assert json.loads(record.result)["cniVersion"] == "1.0.0"
    write(tmp_path / "other/net.d/1.conflist", chain(plugin, version="1.1.0"))
    async with cni_node(tmp_path / "other") as pods:
        assert pods.network.status().reason == "VersionMismatch"
        assert "plugin bridge speaks 0.1.0" in pods.network.status().message
