"""What the kubelet tells of use: from its own look at cgroups, or by the word of the runtime."""

import asyncio
from collections.abc import Callable, Iterator

import msgspec
import pytest

from e2e.client import get
from e2e.images import BUSYBOX, WEB
from e2e.kubelet import usage
from e2e.kubelet.api import PATIENCE
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import NAMESPACE, UNTIL_TERMINATED, container, pod, shell
from e2e.kubelet.process import Kubelet

GATES = {"PodAndContainerStatsFromCRI": True, "CRIListStreaming": True}
BUSY = "i=0; while :; do i=$((i+1)); [ $((i % 5000)) != 0 ] || sleep 0.05; done"
# A part of what cAdvisor tells; the e2e test of metrics has all 56.
METRICS = {
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "container_memory_rss",
    "container_fs_usage_bytes",
    "container_processes",
    "container_start_time_seconds",
    "container_last_seen",
}


@pytest.fixture(scope="module", params=["cadvisor", "cri"])
def source(request: pytest.FixtureRequest, kubelet: Kubelet) -> Iterator[str]:
    """Where the kubelet has its numbers from."""
    changes = {"featureGates": GATES} if request.param == "cri" else {}
    with kubelet.changed(**changes):
        yield request.param


async def until(kube: Node, name: str, told: Callable[[usage.Pod], object]) -> usage.Pod:
    """Return what the summary says of a pod, once it tells what is waited for."""
    found: usage.Pod | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            while found is None or not told(found):
                await asyncio.sleep(0.2)
                answer = await kube.api.get("/stats/summary")
                found = msgspec.json.decode(answer, type=usage.Summary).pod(name)
    except TimeoutError:
        pytest.fail(f"the summary does not tell: {found}")
    return found


def complete(found: usage.Pod) -> bool:
    """Tell whether the summary has the pod's sums, and both containers' rates and files."""
    pod_too = found.cpu.usage_core_nano_seconds and found.memory.working_set_bytes
    return (
        bool(pod_too)
        and len(found.containers) == 2
        and all(
            each.cpu.usage_nano_cores is not None
            and each.memory.working_set_bytes
            and each.rootfs.used_bytes is not None
            and each.logs.used_bytes is not None
            for each in found.containers
        )
    )


async def test_the_summary_tells_what_pods_use(kube: Node, source: str) -> None:
    busy = shell("main", kube.image(BUSYBOX), f"dd if=/dev/zero of=/file bs=1M count=3; {BUSY}")
    web = container("web", kube.image(WEB))
    started = await kube.run(pod(f"using-{source}", [busy, web]))
    name = started.metadata.name
    assert name in await get(started.status.pod_ip, 8080)

    def told(found: usage.Pod) -> bool:
        written = {each.name: each.rootfs.used_bytes or 0 for each in found.containers}
        return complete(found) and written["main"] >= 3 << 20

    found = await until(kube, name, told)
    by_name = {each.name: each for each in found.containers}
    main, server = by_name["main"], by_name["web"]
    assert (main.cpu.usage_core_nano_seconds or 0) > 10_000_000
    assert (main.cpu.usage_nano_cores or 0) > 10_000_000
    assert (server.memory.working_set_bytes or 0) > 4 << 20
    assert (found.memory.working_set_bytes or 0) > 4 << 20
    if source == "cri":
        assert found.network is not None
        assert (found.network.rx_bytes or 0) > 0
        assert (found.network.tx_bytes or 0) > 0
        assert (found.process_stats.process_count or 0) >= 2


async def until_measured(kube: Node, path: str, name: str) -> dict[str, float]:
    """Return what metrics say of a pod's container, once it has used a second of processor time."""
    labels = {"container": "main", "pod": name, "namespace": NAMESPACE}
    values: dict[str, float] = {}
    async with asyncio.timeout(PATIENCE):
        while values.get("container_cpu_usage_seconds_total", 0.0) < 1:  # CRI tells whole seconds
            await asyncio.sleep(0.2)
            values = dict(usage.samples((await kube.api.get(path)).decode(), labels))
    return values


async def test_metrics_tell_what_containers_use(kube: Node, source: str) -> None:
    script = f"i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done; {UNTIL_TERMINATED}"
    started = await kube.run(
        pod(f"measured-{source}", [shell("main", kube.image(BUSYBOX), script)])
    )
    name = started.metadata.name
    values = await until_measured(kube, "/metrics/resource", name)
    assert values["container_memory_working_set_bytes"] > 0
    assert values["container_start_time_seconds"] > 1e9
    if source == "cri":
        values = await until_measured(kube, "/metrics/cadvisor", name)
        assert set(values) >= METRICS
        assert values["container_memory_working_set_bytes"] > 0
        text = (await kube.api.get("/metrics/cadvisor")).decode()
        assert "container_network_receive_bytes_total" in dict(usage.samples(text, {"pod": name}))


async def test_the_kubelet_asks_as_its_gates_say(kube: Node, source: str) -> None:
    await kube.run(pod(f"listed-{source}", [shell("main", kube.image(BUSYBOX))]))
    began = kube.daemon.log.stat().st_size
    wanted = {
        "cadvisor": {"ListPodSandbox", "ListContainers"},
        "cri": {"StreamPodSandboxes", "StreamContainers", "StreamPodSandboxStats"},
    }[source]
    async with asyncio.timeout(PATIENCE):
        while True:
            await kube.api.get("/stats/summary")
            with kube.daemon.log.open() as log:
                log.seek(began)
                text = log.read()
            if all(f"method={method} code=OK" in text for method in wanted):
                break
            await asyncio.sleep(0.2)
    assert ("method=ListContainers " in text) == (source == "cadvisor")
