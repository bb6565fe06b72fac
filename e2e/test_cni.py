"""The daemon with CNI: real plugins, a kubelet's calls, crashes, and plugins that misbehave."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc import aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, connected, eventually_logged, get
from e2e.conftest import DaemonMaker
from e2e.daemon import Daemon, default_settings
from e2e.images import WEB
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.ferry]

PLUGINS = Path("/usr/lib/cni")
BRIDGE = "ferrycni0"
PORT = 18081
BAD_ANSWERS = {
    "crash": ("echo half; kill -SEGV $$", "it was killed by signal 11, it printed 'half'"),
    "garbage": ("echo no json", "no result"),
    "nothing": ("""echo '{"cniVersion": "1.0.0"}'""", "no address for the pod"),
    "hang": ("sleep 1000", "no end within 2 s"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon's plugins, their configurations and addresses are."""

    path: Path

    @property
    def configurations(self) -> Path:
        return self.path / "net.d"

    def settings(self, plugin: str = "cni") -> dict[str, dict[str, object]]:
        settings = default_settings(self.path, number=5)
        settings["network"] |= {
            "plugin": plugin,
            "cni_conf_directory": str(self.configurations),
            "cni_bin_directories": [str(self.path / "bin"), str(PLUGINS)],
            "cni_plugin_seconds": 2,
        }
        return settings

    def write(self, *more: Mapping[str, object], name: str = "10-test.conflist") -> None:
        """Put a configuration in its place: a bridge of two families, port maps, and `more`."""
        self.configurations.mkdir(parents=True, exist_ok=True)
        bridge = {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.path / "leases"),
                "ranges": [[{"subnet": "10.94.0.0/24"}], [{"subnet": "fd00:94::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
        bandwidth = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
        plugins = [bridge, portmap, bandwidth, *more]
        document = {"cniVersion": "1.0.0", "name": "podnet", "plugins": plugins}
        draft = self.configurations / f".{name}"
        draft.write_text(json.dumps(document))
        draft.rename(self.configurations / name)

    def leased(self) -> set[str]:
        """Return the addresses that are in use."""
        names = {path.name for path in self.path.glob("leases/*/*")}
        return {name.replace("_", ":") for name in names if name[0].isdigit() or "::" in name}


@pytest.fixture
def place(node: None, tmp_path: Path) -> Iterator[Place]:
    """A place whose bridge and rules, which plugins leave on purpose, go with the test."""
    if not (PLUGINS / "bridge").exists():
        pytest.skip(f"no CNI plugins in {PLUGINS} (package containernetworking-plugins)")
    made = Place(tmp_path / "cni")
    made.path.mkdir()
    yield made
    assert not made.leased()
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)


@pytest.fixture
def own(make_daemon: DaemonMaker, place: Place) -> Daemon:
    place.write()
    return make_daemon(place.settings())


@pytest.fixture
async def client(own: Daemon) -> AsyncIterator[Client]:
    async with connected(own.address) as made:
        yield made


async def condition(client: Client) -> pb.RuntimeCondition:
    status = (await client.runtime.Status(pb.StatusRequest())).status
    (found,) = [each for each in status.conditions if each.type == "NetworkReady"]
    return found


async def until_reason(client: Client, reason: str) -> pb.RuntimeCondition:
    """Return the condition once it has a reason; asked as a kubelet does, which has no event."""
    async with asyncio.timeout(20):
        while (found := await condition(client)).reason != reason:
            await asyncio.sleep(0.05)
    return found


async def serving_pod(client: Client, registry: Registry, pod: Pod) -> tuple[str, str]:
    """Run a pod with a web server; return its id and the container's."""
    image = await client.pull(registry.reference(WEB))
    running = await client.run_pod(pod)
    container = Container(name="web", image=image, env={"PORT": "8080"})
    server = await client.run(running, container)
    await eventually_logged(pod, "web", "listening 8080")
    return running.id, server


async def remove(client: Client, sandbox: str) -> None:
    await client.stop_pod(sandbox)
    await client.remove_pod(sandbox)


async def test_a_pod_of_two_families_with_a_host_port(
    own: Daemon, client: Client, registry: Registry, place: Place, logs: Path
) -> None:
    pod = Pod(name="web", logs=logs, ports=[(PORT, 8080)])
    sandbox, container = await serving_pod(client, registry, pod)
    network = (await client.pod_status(sandbox)).network
    (six,) = (each.ip for each in network.additional_ips)
    assert network.ip.startswith("10.94.0.")
    assert six.startswith("fd00:94::")
    assert place.leased() == {network.ip, six}
    assert await get("127.0.0.1", PORT, "/loopback") == "web /loopback\n"
    assert await get(network.ip, 8080, "/four") == "web /four\n"
    page = await client.output(container, "wget", "-qO-", f"http://[{six}]:8080/six")
    assert page == "web /six"
    listing = await client.output(container, "sh", "-c", "ls /sys/class/net | sort")
    assert listing.split() == ["eth0", "lo"]
    await client.stop_pod(sandbox)
    assert not place.leased()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", PORT)
    await client.stop_pod(sandbox)
    await client.remove_pod(sandbox)
    assert "CNI_" not in own.tail(200)


async def test_pods_keep_their_network_when_the_daemon_is_killed(
    own: Daemon, registry: Registry, place: Place, logs: Path
) -> None:
    pod = Pod(name="kept", logs=logs, ports=[(PORT, 8080)])
    async with connected(own.address) as client:
        sandbox, _ = await serving_pod(client, registry, pod)
        before = (await client.pod_status(sandbox)).network.ip
    await asyncio.to_thread(own.restart, crash=True)
    assert await get("127.0.0.1", PORT, "/after") == "kept /after\n"
    async with connected(own.address) as client:
        assert (await client.pod_status(sandbox)).network.ip == before
        assert (await condition(client)).reason == "CniReady"
        await remove(client, sandbox)
    assert not place.leased()


async def killed_while_running(own: Daemon, pod: Pod, after: float) -> None:
    """Kill the daemon some time after it was asked to run a pod, and start it anew."""

    async def run(client: Client) -> None:
        with contextlib.suppress(aio.AioRpcError):
            await client.run_pod(pod)

    async with connected(own.address) as client, asyncio.TaskGroup() as group:
        group.create_task(run(client))
        await asyncio.sleep(after)
        await asyncio.to_thread(own.kill)
    await asyncio.to_thread(own.start)


async def test_kills_in_the_middle_leave_no_address(own: Daemon, place: Place, logs: Path) -> None:
    async with connected(own.address) as client:
        await remove(client, (await client.run_pod(Pod(name="warm", logs=logs))).id)
    before = Snapshot.take(own.state, processes=False)
    for number in range(6):
        pod = Pod(name=f"cut-{number}", logs=logs, ports=[(PORT, 8080)])
        await killed_while_running(own, pod, 0.01 + number * 0.04)
        async with connected(own.address) as client:
            for left in await client.list_pods():
                await remove(client, left.id)
        assert not place.leased()
    assert not await leaks(before, own.state, processes=False)


async def until_refused(client: Client, logs: Path) -> None:
    """Run pods until the new configuration is in force, by which none can be."""
    async with asyncio.timeout(30):
        while True:
            await remove(client, (await client.run_pod(Pod(name="x", logs=logs))).id)


@pytest.mark.parametrize("kind", sorted(BAD_ANSWERS))
async def test_a_plugin_that_misbehaves(
    make_daemon: DaemonMaker, place: Place, logs: Path, kind: str
) -> None:
    answer, words = BAD_ANSWERS[kind]
    plugin = place.path / "bin/bad"
    plugin.parent.mkdir()
    spoken = """echo '{"supportedVersions": ["1.0.0"]}'"""
    verbs = f"VERSION) {spoken};; ADD) {answer};;"
    plugin.write_text(f'#!/bin/sh\ncase "$CNI_COMMAND" in {verbs} esac\n')
    plugin.chmod(0o755)
    place.write()
    own = make_daemon(place.settings())
    async with connected(own.address) as client:
        await remove(client, (await client.run_pod(Pod(name="warm", logs=logs))).id)
        before = Snapshot.take(own.state, processes=False)
        place.write({"type": "bad"})
        with pytest.raises(aio.AioRpcError) as failed:
            await until_refused(client, logs)
        details = failed.value.details() or ""
        assert "plugin" in details
        assert "bad ADD: " in details
        assert words in details
        assert await client.list_pods() == []
        assert not place.leased()
        assert not await leaks(before, own.state, processes=False)


async def test_the_condition_follows_the_directory(
    make_daemon: DaemonMaker, place: Place, logs: Path
) -> None:
    own = make_daemon(place.settings())
    async with connected(own.address) as client:
        found = await condition(client)
        assert (found.status, found.reason) == (False, "NoConfiguration")
        assert f"no network configuration in {place.configurations}" in found.message
        with pytest.raises(aio.AioRpcError, match="NoConfiguration"):
            await client.run_pod(Pod(name="early", logs=logs))
        place.configurations.mkdir()
        (place.configurations / "05-bad.conf").write_text("{")
        found = await until_reason(client, "BadConfiguration")
        assert "05-bad.conf: no JSON" in found.message
        place.write({"type": "absent"})
        found = await until_reason(client, "PluginMissing")
        assert "absent not found in" in found.message
        place.write()
        found = await until_reason(client, "CniReady")
        assert found.status
        await remove(client, (await client.run_pod(Pod(name="late", logs=logs))).id)
        (place.configurations / "10-test.conflist").unlink()
        (place.configurations / "05-bad.conf").unlink()
        place.configurations.rmdir()
        await until_reason(client, "NoConfiguration")


async def test_pods_outlive_a_change_of_networks(
    make_daemon: DaemonMaker, registry: Registry, place: Place, logs: Path
) -> None:
    own = make_daemon(place.settings("auto"))
    async with connected(own.address) as client:
        assert (await condition(client)).reason == "BridgeReady"
        pod = Pod(name="old", logs=logs, ports=[(PORT, 8080)])
        old, _ = await serving_pod(client, registry, pod)
    place.write()
    await asyncio.to_thread(own.restart)
    async with connected(own.address) as client:
        assert (await condition(client)).reason == "CniReady"
        assert await get("127.0.0.1", PORT, "/old") == "old /old\n"
        new = await client.run_pod(Pod(name="new", logs=logs))
        assert (await client.pod_status(new.id)).network.ip.startswith("10.94.0.")
        await remove(client, old)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", PORT)
    (place.configurations / "10-test.conflist").unlink()
    await asyncio.to_thread(own.restart)
    async with connected(own.address) as client:
        assert (await condition(client)).reason == "BridgeReady"
        await remove(client, new.id)
        assert not place.leased()


async def test_limits_are_passed_on(client: Client, registry: Registry, logs: Path) -> None:
    limits = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M"}
    running = await client.run_pod(Pod(name="slow", logs=logs, annotations=limits))
    shaped = subprocess.run(["tc", "qdisc"], capture_output=True, text=True, check=True).stdout
    assert "rate 10Mbit" in shaped
    assert "rate 20Mbit" in shaped
    await remove(client, running.id)
    bad = {"kubernetes.io/egress-bandwidth": "fast"}
    with pytest.raises(aio.AioRpcError, match=r"kubernetes\.io/egress-bandwidth: 'fast'"):
        await client.run_pod(Pod(name="bad", logs=logs, annotations=bad))


async def test_a_pod_range_from_kubernetes(
    make_daemon: DaemonMaker, place: Place, logs: Path
) -> None:
    place.configurations.mkdir()
    leases = str(place.path / "leases")
    plugin = {
        "cniVersion": "1.0.0",
        "name": "podnet",
        "type": "bridge",
        "bridge": BRIDGE,
        "capabilities": {"ipRanges": True},
        "ipam": {"type": "host-local", "dataDir": leases},
    }
    (place.configurations / "10.conf").write_text(json.dumps(plugin))
    own = make_daemon(place.settings())
    async with connected(own.address) as client:
        network = pb.NetworkConfig(pod_cidr="10.95.0.0/24,fd00:95::/64")
        config = pb.RuntimeConfig(network_config=network)
        request = pb.UpdateRuntimeConfigRequest(runtime_config=config)
        await client.runtime.UpdateRuntimeConfig(request)
        running = await client.run_pod(Pod(name="ranged", logs=logs))
        found = (await client.pod_status(running.id)).network
        assert found.ip.startswith("10.95.0.")
        assert [each.ip[:8] for each in found.additional_ips] == ["fd00:95:"]
        await remove(client, running.id)
