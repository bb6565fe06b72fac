"""Probes of every kind: they decide who is ready, who has started, and who is started again."""

import asyncio
from pathlib import Path

from e2e.images import BUSYBOX, NGINX, REDIS, WEB
from e2e.kubelet.api import PATIENCE
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import (
    UNTIL_TERMINATED,
    container,
    host_path,
    mount,
    pod,
    probe,
    shell,
)

HEALTHY = (Path(__file__).parent / "healthy.py").read_text()


async def test_network_probes_find_servers_ready(kube: Node) -> None:
    http = probe("httpGet", {"path": "/", "port": 8080}, failureThreshold=30)
    named = probe("httpGet", {"path": "/", "port": "http"}, failureThreshold=30)
    tcp = probe("tcpSocket", {"port": 6379}, failureThreshold=30)
    ports = [{"name": "http", "containerPort": 80}]
    found = await kube.run(
        pod(
            "answering",
            [
                container("web", kube.image(WEB), readinessProbe=http, startupProbe=http),
                container("nginx", kube.image(NGINX), readinessProbe=named, ports=ports),
                container("redis", kube.image(REDIS), readinessProbe=tcp, livenessProbe=tcp),
            ],
        )
    )
    assert [each.ready for each in found.status.container_statuses] == [True, True, True]
    assert [each.restart_count for each in found.status.container_statuses] == [0, 0, 0]


async def test_nobody_listening_is_not_ready(kube: Node) -> None:
    silent = shell("main", kube.image(BUSYBOX), readinessProbe=probe("tcpSocket", {"port": 81}))
    lost = container("nginx", kube.image(NGINX), readinessProbe=probe("tcpSocket", {"port": 80}))
    name = kube.apply(pod("silent", [silent, lost]))
    found = await kube.api.until(name, lambda pod: pod.container("nginx").ready)
    assert found.container().state.running
    assert not found.container().ready
    assert not found.ready


async def test_readiness_follows_a_grpc_probe(kube: Node, tmp_path: Path) -> None:
    ready = probe("grpc", {"port": 9000})
    main = container(
        "main",
        kube.image(WEB),
        command=["python3", "-c", HEALTHY, "9000", "/health/fine"],
        readinessProbe=ready,
        volumeMounts=[mount("health", "/health")],
    )
    name = kube.apply(pod("healthy", [main], volumes=[host_path("health", tmp_path)]))
    await kube.api.until(name, lambda pod: pod.container().started)
    assert not (await kube.api.pods())[name].ready
    (tmp_path / "fine").touch()
    await kube.api.until(name, lambda pod: pod.ready)
    (tmp_path / "fine").unlink()
    found = await kube.api.until(name, lambda pod: not pod.ready)
    assert found.container().restart_count == 0


async def test_readiness_follows_an_exec_probe(kube: Node) -> None:
    ready = probe("exec", {"command": ["test", "-e", "/tmp/ready"]})
    main = shell("main", kube.image(BUSYBOX), readinessProbe=ready)
    name = kube.apply(pod("moody", [main]))
    await kube.api.until(name, lambda pod: pod.container().started)
    assert not (await kube.api.pods())[name].ready
    await kube.exec(name, "touch", "/tmp/ready")
    await kube.api.until(name, lambda pod: pod.ready)
    await kube.exec(name, "rm", "/tmp/ready")
    found = await kube.api.until(name, lambda pod: not pod.ready)
    assert found.container().restart_count == 0


async def test_a_container_that_fails_its_liveness_probe_is_started_again(kube: Node) -> None:
    alive = probe("exec", {"command": ["test", "-e", "/tmp/alive"]})
    script = f"touch /tmp/alive; {UNTIL_TERMINATED}"
    name = kube.apply(
        pod("mortal", [shell("main", kube.image(BUSYBOX), script, livenessProbe=alive)])
    )
    first = await kube.api.until(name, lambda pod: pod.ready)
    await kube.exec(name, "rm", "/tmp/alive")
    second = await kube.api.until(name, lambda pod: pod.ready and pod.container().restart_count)
    last = second.container().last_state.terminated
    assert last is not None
    assert last.container_id == first.container().container_id
    assert last.exit_code == 0


async def test_other_probes_wait_for_the_startup_probe(kube: Node) -> None:
    started = probe("exec", {"command": ["test", "-e", "/tmp/started"]}, failureThreshold=60)
    alive = probe("exec", {"command": ["test", "-e", "/tmp/started"]})
    main = shell("main", kube.image(BUSYBOX), startupProbe=started, livenessProbe=alive)
    name = kube.apply(pod("slow", [main]))
    waiting = await kube.api.until(name, lambda pod: pod.container().state.running)
    assert not waiting.container().started
    await kube.exec(name, "touch", "/tmp/started")
    found = await kube.api.until(name, lambda pod: pod.ready)
    assert found.container().started
    assert found.container().restart_count == 0


async def test_a_probe_that_hangs_fails_and_leaves_no_process(kube: Node) -> None:
    kube.expect("code = DeadlineExceeded.*sleep 12345")
    script = "echo >>/tmp/probes; sleep 12345 & wait"
    hanging = probe("exec", {"command": ["sh", "-c", script]}, timeoutSeconds=1, periodSeconds=2)
    script = f"touch /tmp/probes; {UNTIL_TERMINATED}"
    main = shell("main", kube.image(BUSYBOX), script, readinessProbe=hanging)
    name = kube.apply(pod("hanging", [main]))
    await kube.api.until(name, lambda pod: pod.container().started)
    async with asyncio.timeout(PATIENCE):
        while len(await kube.exec(name, "cat", "/tmp/probes")) < 3:
            await asyncio.sleep(0.1)
    assert (await kube.exec(name, "ps")).count("sleep 12345\n") <= 1
    assert not (await kube.api.pods())[name].ready
