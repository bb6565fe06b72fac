"""What pods share with the node and containers with each other: ports, namespaces."""

import socket
from pathlib import Path

from e2e.client import get
from e2e.images import BUSYBOX, WEB
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import container, pod, shell
from e2e.kubelet.process import ADDRESS


async def test_host_ports_lead_to_the_pod_until_it_goes(kube: Node) -> None:
    ports = [{"containerPort": 8080, "hostPort": 18080}]
    found = await kube.run(pod("ported", [container("main", kube.image(WEB), ports=ports)]))
    for address in ("127.0.0.1", ADDRESS, found.status.pod_ip):
        port = 8080 if address == found.status.pod_ip else 18080
        assert await get(address, port, "/hello") == "ported-node /hello\n"
    await kube.delete(found.metadata.name)
    for address in ("127.0.0.1", ADDRESS):
        with socket.socket() as client:
            assert client.connect_ex((address, 18080)) != 0


async def test_a_pod_in_the_host_network_is_the_node(kube: Node) -> None:
    environment = [{"name": "PORT", "value": "18081"}]
    main = container("main", kube.image(WEB), env=environment)
    found = await kube.run(pod("netless", [main], hostNetwork=True))
    assert await get("127.0.0.1", 18081) == f"{socket.gethostname()} /\n"
    own = Path("/proc/self/ns/net").readlink()
    assert await kube.exec(found.metadata.name, "readlink", "/proc/1/ns/net") == f"{own}\n"


async def test_containers_share_processes_where_that_is_asked_for(kube: Node) -> None:
    image = kube.image(BUSYBOX)
    both = [shell("main", image), shell("other", image, "exec sleep 54321")]
    shared = await kube.run(pod("together", both, shareProcessNamespace=True))
    apart = await kube.run(pod("apart", both))
    seen = await kube.exec(shared.metadata.name, "ps")
    assert "sleep 54321" in seen
    assert "/holder" in seen.splitlines()[1]
    assert "54321" not in await kube.exec(apart.metadata.name, "ps")
    # Who ends in a shared namespace is started again in the same one.
    await kube.exec(shared.metadata.name, "killall", "-KILL", "sleep")
    await kube.api.until(
        shared.metadata.name, lambda pod: pod.ready and pod.container("other").restart_count
    )
    assert "sleep 54321" in await kube.exec(shared.metadata.name, "ps")


async def test_a_pod_may_see_the_nodes_processes_and_ipc(kube: Node) -> None:
    found = await kube.run(
        pod("open", [shell("main", kube.image(BUSYBOX))], hostPID=True, hostIPC=True)
    )
    ipc = Path("/proc/self/ns/ipc").readlink()
    assert await kube.exec(found.metadata.name, "readlink", "/proc/self/ns/ipc") == f"{ipc}\n"
    assert f"{kube.daemon.pid}" in (await kube.exec(found.metadata.name, "ls", "/proc")).split()
