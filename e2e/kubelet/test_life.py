"""What every pod goes through."""

from e2e.client import get
from e2e.images import BUSYBOX, NGINX, REDIS, WEB
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import container, pod, shell


async def test_real_programs_become_ready_and_answer(kube: Node) -> None:
    servers = [
        container("nginx", kube.image(NGINX)),
        container("redis", kube.image(REDIS)),
        container("web", kube.image(WEB)),
    ]
    client = shell("main", kube.image(BUSYBOX), "exec sleep 600")
    found = await kube.run(pod("servers", [*servers, client]))
    assert found.status.phase == "Running"
    assert [each.restart_count for each in found.status.container_statuses] == [0, 0, 0, 0]
    assert await get(found.status.pod_ip, 80) == "nginx\n"
    assert await get(found.status.pod_ip, 8080, "/x") == "servers-node /x\n"
