"""Addresses, names, host ports, and the namespaces a pod shares or has for itself."""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, Running, code, connected, eventually_logged, get
from e2e.conftest import DaemonMaker
from e2e.daemon import default_settings
from e2e.images import BUSYBOX, WEB
from e2e.registry import Registry

pytestmark = pytest.mark.root

Images = Mapping[str, str]
PORT = 18080
# An echo request is type 8, the reply type 0; the kernel fills in the rest.
LISTEN_AND_PING = """
import socket
socket.create_server(("", 80)).close()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as ping:
    ping.settimeout(5)
    ping.sendto(bytes((8, 0, 0, 0, 0, 0, 0, 1)), ("127.0.0.1", 0))
    print("echo reply" if ping.recv(64)[0] == 0 else "something else")
"""


async def tool(client: Client, running: Running, images: Images, name: str = "tool") -> str:
    """Run a container that waits for what is run in it."""
    return await client.run(
        running, Container(name=name, image=images[BUSYBOX], command=["sleep", "600"])
    )


async def web(client: Client, running: Running, images: Images, port: int = 8080) -> str:
    """Run the web server; return its id once it listens."""
    server = Container(name="web", image=images[WEB], env={"PORT": str(port)})
    container = await client.run(running, server)
    await eventually_logged(running.pod, "web", f"listening {port}")
    return container


def own_address() -> str:
    """Return an address of this node that is not loopback, from the pods' bridge."""
    argv = ["ip", "-4", "-o", "addr", "show", "scope", "global"]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return output.split()[3].partition("/")[0]


async def test_resolv_conf_hosts_and_name(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="names", logs=logs, hostname="web-0"), handler) as running:
        container = await tool(cri, running, images)
        assert (await cri.output(container, "cat", "/etc/resolv.conf")).splitlines() == [
            "search e2e.svc.cluster.local",
            "nameserver 10.96.0.10",
            "options ndots:5",
        ]
        assert await cri.output(container, "cat", "/etc/hostname") == "web-0"
        assert await cri.output(container, "hostname") == "web-0"
        assert await cri.output(container, "sh", "-c", "echo $HOSTNAME") == "web-0"


async def test_a_pod_has_loopback_and_one_interface(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="links", logs=logs), handler) as running:
        container = await tool(cri, running, images)
        links = await cri.output(container, "sh", "-c", "ls /sys/class/net | sort")
        assert links.split() == ["eth0", "lo"]
        address = (await cri.pod_status(running.id)).network.ip
        listing = await cri.output(container, "ip", "-o", "-4", "addr", "show", "eth0")
        assert f"inet {address}/" in listing
        assert await cri.exec(container, "ping", "-c1", "-W5", "127.0.0.1")


async def test_a_host_port_leads_into_the_pod(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="ports", logs=logs, ports=[(PORT, 8080)])
    async with cri.pod(pod, handler) as running:
        container = await web(cri, running, images)
        node = own_address()
        assert await get("127.0.0.1", PORT, "/loopback") == "ports /loopback\n"
        assert await get(node, PORT, "/address") == "ports /address\n"
        # Hairpin: the pod reaches itself by the node's address.
        page = await cri.output(container, "wget", "-qO-", f"http://{node}:{PORT}/self")
        assert page == "ports /self"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", PORT)


async def test_a_container_port_alone_is_not_published(
    cri: Client, images: Images, logs: Path
) -> None:
    pod = Pod(name="inner", logs=logs, ports=[(0, 8080)])
    async with cri.pod(pod) as running:
        await web(cri, running, images)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", 8080)


async def test_addresses_are_not_given_twice(cri: Client, logs: Path, images: Images) -> None:
    pods = [Pod(name=f"many-{number}", logs=logs) for number in range(12)]
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(cri.run_pod(pod)) for pod in pods]
    sandboxes = [run.result().id for run in runs]
    addresses = [(await cri.pod_status(sandbox)).network.ip for sandbox in sandboxes]
    assert len(set(addresses)) == len(addresses) == 12
    async with asyncio.TaskGroup() as group:
        for sandbox in sandboxes:
            group.create_task(cri.remove_pod(sandbox))


async def test_the_nodes_network(cri: Client, images: Images, handler: str, logs: Path) -> None:
    pod = Pod(name="host", logs=logs, network="NODE")
    async with cri.pod(pod, handler) as running:
        status = await cri.pod_status(running.id)
        assert status.network.ip == ""
        assert status.linux.namespaces.options.network == pb.NamespaceMode.Value("NODE")
        await web(cri, running, images, port=PORT)
        name = subprocess.run(["hostname"], check=True, capture_output=True, text=True).stdout
        assert await get("127.0.0.1", PORT, "/node") == f"{name.strip()} /node\n"


async def processes(client: Client, container: str) -> list[str]:
    listing = await client.output(container, "ps", "-o", "pid,args")
    return [line.strip() for line in listing.splitlines()[1:]]


async def test_each_container_sees_its_own_processes(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="pids", logs=logs), handler) as running:
        first = await tool(cri, running, images, "first")
        await tool(cri, running, images, "second")
        listing = await processes(cri, first)
        assert listing[0] == "1 sleep 600"
        assert len(listing) == 2  # and ps itself


async def test_a_shared_process_namespace(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="shared", logs=logs, pid="POD"), handler) as running:
        first = await tool(cri, running, images, "first")
        await tool(cri, running, images, "second")
        sleepers = [line for line in await processes(cri, first) if "sleep 600" in line]
        assert len(sleepers) == 2
        assert not any(line.startswith("1 sleep") for line in sleepers)
        await cri.stop(first)
        assert (await cri.pod_status(running.id)).state == 0  # SANDBOX_READY


async def test_the_nodes_processes(cri: Client, images: Images, handler: str, logs: Path) -> None:
    async with cri.pod(Pod(name="hostpid", logs=logs, pid="NODE"), handler) as running:
        container = await tool(cri, running, images)
        listing = await cri.output(container, "ps", "-o", "args")
        assert "pytest" in listing


async def test_a_container_joins_anothers_processes(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="target", logs=logs), handler) as running:
        target = await tool(cri, running, images, "target")
        debug = Container(name="debug", image=images[BUSYBOX], command=["top", "-b", "-d", "600"])
        config = debug.config(running.pod)
        options = config.linux.security_context.namespace_options
        options.pid = pb.NamespaceMode.Value("TARGET")
        options.target_id = target
        container = await cri.run(running, debug, config)
        listing = await processes(cri, container)
        assert any(line.startswith("1 sleep 600") for line in listing)
        assert any("top -b" in line for line in listing)


@pytest.mark.parametrize("ipc", ["POD", "NODE"])
async def test_shared_memory_is_the_pods_or_the_nodes(
    cri: Client, images: Images, handler: str, logs: Path, ipc: str
) -> None:
    async with cri.pod(Pod(name="ipc", logs=logs, ipc=ipc), handler) as running:
        first = await tool(cri, running, images, "first")
        second = await tool(cri, running, images, "second")
        inside = await cri.output(first, "readlink", "/proc/self/ns/ipc")
        assert inside == await cri.output(second, "readlink", "/proc/self/ns/ipc")
        assert (inside == str(Path("/proc/self/ns/ipc").readlink())) == (ipc == "NODE")
        await cri.output(first, "sh", "-c", "echo shared > /dev/shm/e2e-note")
        assert await cri.output(second, "cat", "/dev/shm/e2e-note") == "shared"
        await cri.output(first, "rm", "/dev/shm/e2e-note")


async def test_namespaced_sysctls(cri: Client, images: Images, handler: str, logs: Path) -> None:
    sysctls = {
        "kernel.shm_rmid_forced": "1",
        "net.ipv4.ip_local_port_range": "20000 21000",
        "net.ipv4.ip_unprivileged_port_start": "80",
    }
    async with cri.pod(Pod(name="sysctls", logs=logs, sysctls=sysctls), handler) as running:
        container = await tool(cri, running, images)
        assert await cri.output(container, "cat", "/proc/sys/kernel/shm_rmid_forced") == "1"
        ports = await cri.output(container, "cat", "/proc/sys/net/ipv4/ip_local_port_range")
        assert ports.split() == ["20000", "21000"]
        path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        assert await cri.output(container, "cat", path) == "80"


@pytest.mark.ferry
@pytest.mark.parametrize("name", ["kernel.panic", "vm.overcommit_memory", "kernel.hostname"])
async def test_other_sysctls_are_refused_by_name(cri: Client, logs: Path, name: str) -> None:
    with pytest.raises(aio.AioRpcError, match=name) as refused:
        await cri.run_pod(Pod(name="sysctl", logs=logs, sysctls={name: "1"}))
    assert code(refused.value) is StatusCode.INVALID_ARGUMENT


@pytest.mark.ferry
async def test_a_taken_host_port_is_refused(cri: Client, logs: Path, images: Images) -> None:
    pod = Pod(name="holder", logs=logs, ports=[(PORT, 80)])
    async with cri.pod(pod):
        with pytest.raises(aio.AioRpcError, match=f"{PORT}"):
            await cri.run_pod(Pod(name="late", logs=logs, ports=[(PORT, 80)]))
    async with cri.pod(Pod(name="late", logs=logs, ports=[(PORT, 80)])):
        pass


@pytest.mark.ferry
@pytest.mark.parametrize("users", [None, (200_000, 65_536)], ids=["node", "own"])
async def test_anybody_may_listen_below_1024_and_ping(
    cri: Client, images: Images, handler: str, logs: Path, users: tuple[int, int] | None
) -> None:
    async with cri.pod(Pod(name="plain", logs=logs, users=users), handler) as running:
        plain = Container(name="plain", image=images[WEB], command=["sleep", "600"])
        config = plain.config(running.pod)
        config.linux.security_context.run_as_user.value = 1000
        container = await cri.run(running, plain, config)
        assert await cri.output(container, "id", "-u") == "1000"
        assert await cri.output(container, "python3", "-c", LISTEN_AND_PING) == "echo reply"


@pytest.mark.ferry
async def test_the_nodes_own_sysctls_stay(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    setting = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    before = setting.read_text().strip()
    async with cri.pod(Pod(name="host", logs=logs, network="NODE"), handler) as running:
        container = await tool(cri, running, images)
        assert await cri.output(container, "cat", str(setting)) == before == "1024"


@pytest.mark.ferry
async def test_bandwidth_is_limited_as_annotated(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    limits = {"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "16M"}
    async with cri.pod(Pod(name="slow", logs=logs, annotations=limits), handler) as running:
        container = await tool(cri, running, images)
        address = (await cri.pod_status(running.id)).network.ip
        serve = "timeout 10 nc -l -p 9000 </dev/zero >/dev/null"
        async with asyncio.TaskGroup() as group:
            group.create_task(cri.exec(container, "sh", "-c", serve))
            received = await rate_from(address, 9000)
        assert 10e6 < received < 20e6
    bad = {"kubernetes.io/ingress-bandwidth": "fast"}
    with pytest.raises(aio.AioRpcError, match="ingress-bandwidth: 'fast'") as refused:
        await cri.run_pod(Pod(name="bad", logs=logs, annotations=bad))
    assert code(refused.value) is StatusCode.INVALID_ARGUMENT


async def dial(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, once the server is there."""
    while True:
        try:
            return await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)


async def rate_from(address: str, port: int, size: int = 3_000_000) -> float:
    """Return how many bits per second come from a server that sends without end."""
    async with asyncio.timeout(20):
        reader, writer = await dial(address, port)
        began = time.monotonic()
        await reader.readexactly(size)
        writer.close()
        return size * 8 / (time.monotonic() - began)


@pytest.mark.ferry
async def test_two_families(
    make_daemon: DaemonMaker, registry: Registry, logs: Path, tmp_path: Path
) -> None:
    settings = default_settings(tmp_path, number=3)
    settings["network"]["subnets"] = ["10.91.0.0/24", "fd00:91::/64"]
    daemon = make_daemon(settings)
    async with connected(daemon.address) as client:
        images = {name: await client.pull(registry.reference(name)) for name in (WEB, BUSYBOX)}
        pod = Pod(name="dual", logs=logs, ports=[(PORT, 8080)])
        async with client.pod(pod) as running:
            network = (await client.pod_status(running.id)).network
            assert network.ip.startswith("10.91.0.")
            (six,) = (each.ip for each in network.additional_ips)
            assert six.startswith("fd00:91::")
            container = await web(client, running, images)
            assert await get(six, 8080, "/six") == "dual /six\n"
            page = await client.output(container, "wget", "-qO-", f"http://[{six}]:8080/own")
            assert page == "dual /own"
