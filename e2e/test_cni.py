"""The daemon with CNI: real plugins, a kubelet's calls, and plugins that misbehave."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Pod, connected, get
from e2e.cni import BRIDGE, ONWARD, Place, condition, remove, serving_pod, until_reason
from e2e.conftest import DaemonMaker
from e2e.daemon import Daemon
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.ferry]

PORT = 18081
BAD_ANSWERS = {
    "crash": ("echo half; kill -SEGV $$", "it was killed by signal 11, it printed 'half'"),
    "garbage": ("echo no json", "no result"),
    "nothing": ("""echo '{"cniVersion": "1.0.0"}'""", "no address for the pod"),
    "hang": ("sleep 1000", "no end within 2 s"),
}


@pytest.fixture
def own(make_daemon: DaemonMaker, place: Place) -> Daemon:
    place.write()
    return make_daemon(place.settings())


@pytest.fixture
async def client(own: Daemon) -> AsyncIterator[Client]:
    async with connected(own.address) as made:
        yield made


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


async def test_pods_reach_each_other(client: Client, registry: Registry, logs: Path) -> None:
    server, _ = await serving_pod(client, registry, Pod(name="server", logs=logs))
    other, container = await serving_pod(client, registry, Pod(name="other", logs=logs))
    network = (await client.pod_status(server)).network
    (six,) = (each.ip for each in network.additional_ips)
    for address in (network.ip, f"[{six}]"):
        page = await client.output(container, "wget", "-qO-", f"http://{address}:8080/page")
        assert page == "server /page"
    await remove(client, other)
    await remove(client, server)


async def test_a_pod_with_users_of_its_own(
    client: Client, registry: Registry, place: Place, logs: Path
) -> None:
    pod = Pod(name="mapped", logs=logs, users=(200_000, 65_536), ports=[(PORT, 8080)])
    sandbox, container = await serving_pod(client, registry, pod)
    assert (await client.output(container, "cat", "/proc/self/uid_map")).split()[1] == "200000"
    assert await get("127.0.0.1", PORT, "/mapped") == "mapped /mapped\n"
    await remove(client, sandbox)
    assert not place.leased()


async def test_plugins_are_told_what_they_declare(
    make_daemon: DaemonMaker, place: Place, logs: Path
) -> None:
    told = place.path / "told"
    asked = place.path / "asked"
    capabilities = {"capabilities": {"dns": True, "portMappings": True}}
    listening = place.script("listening", ADD=f"env >{told}; tee {asked} | {ONWARD}")
    place.write({**listening, **capabilities, "own": {"key": [1]}})
    own = make_daemon(place.settings())
    pod = Pod(name="told", logs=logs, ports=[(PORT, 8080)])
    async with connected(own.address) as client:
        running = await client.run_pod(pod)
        document = json.loads(asked.read_text())
        assert document["runtimeConfig"] == {
            "portMappings": [{"hostPort": PORT, "containerPort": 8080, "protocol": "tcp"}],
            "dns": {
                "servers": ["10.96.0.10"],
                "searches": ["e2e.svc.cluster.local"],
                "options": ["ndots:5"],
            },
        }
        assert document["own"] == {"key": [1]}
        assert [each["address"][:8] for each in document["prevResult"]["ips"]] == [
            "10.94.0.",
            "fd00:94:",
        ]
        variables = dict(line.partition("=")[::2] for line in told.read_text().splitlines())
        assert variables["CNI_CONTAINERID"] == running.id
        assert variables["CNI_IFNAME"] == "eth0"
        assert Path(variables["CNI_NETNS"]).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
        assert f"K8S_POD_NAME=told;K8S_POD_INFRA_CONTAINER_ID={running.id}" in variables["CNI_ARGS"]
        await remove(client, running.id)


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
    ipam = {"type": "host-local", "dataDir": str(place.leases)}
    place.put(
        {"type": "bridge", "bridge": BRIDGE, "capabilities": {"ipRanges": True}, "ipam": ipam}
    )
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
    bad = place.script("bad", ADD=answer)
    place.write()
    own = make_daemon(place.settings(seconds=2))
    async with connected(own.address) as client:
        await remove(client, (await client.run_pod(Pod(name="warm", logs=logs))).id)
        before = Snapshot.take(own.state, processes=False)
        place.write(bad)
        with pytest.raises(aio.AioRpcError) as failed:
            await until_refused(client, logs)
        details = failed.value.details() or ""
        assert "plugin" in details
        assert "bad ADD: " in details
        assert words in details
        assert await client.list_pods() == []
        assert not place.leased()
        assert not await leaks(before, own.state, processes=False)
