"""Limits: what a pod is given, and what changes while it runs."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from e2e.images import BUSYBOX
from e2e.kubelet.api import PATIENCE
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import pod, shell
from e2e.kubelet.process import Kubelet

PROCESSORS = os.sched_getaffinity(0)
WHOLE = {"cpu": "1", "memory": "64Mi"}


@pytest.fixture(scope="module")
def pinning(kubelet: Kubelet) -> Iterator[None]:
    """A kubelet that gives whole processors to pods that ask for them."""
    if len(PROCESSORS) < 2:
        pytest.skip("with one processor there is none to give away")
    reserved = str(min(PROCESSORS))
    with kubelet.changed(
        cpuManagerPolicy="static", reservedSystemCPUs=reserved, cpuManagerReconcilePeriod="1s"
    ):
        yield


def listed(text: str) -> set[int]:
    """Return the numbers in a list as the kernel writes it: 0-2,5."""
    ends = [(each.partition("-")[0], each.rpartition("-")[2]) for each in text.split(",")]
    return {number for first, last in ends for number in range(int(first), int(last) + 1)}


async def allowed(kube: Node, name: str) -> set[int]:
    """Return the processors on which a container may run."""
    told = await kube.exec(name, "grep", "Cpus_allowed_list", "/proc/1/status")
    return listed(told.split()[1])


async def until_allowed(kube: Node, name: str, processors: set[int]) -> None:
    """Return once a container may run on these processors, and on no others."""
    async with asyncio.timeout(PATIENCE):
        while await allowed(kube, name) != processors:
            await asyncio.sleep(0.1)


async def test_a_running_container_makes_room_on_processors(kube: Node, pinning: None) -> None:
    shared = await kube.run(pod("crowd", [shell("main", kube.image(BUSYBOX))]))
    await until_allowed(kube, shared.metadata.name, PROCESSORS)
    resources = {"requests": WHOLE, "limits": WHOLE}
    alone = await kube.run(pod("alone", [shell("main", kube.image(BUSYBOX), resources=resources)]))
    taken = await allowed(kube, alone.metadata.name)
    assert len(taken) == 1
    await until_allowed(kube, shared.metadata.name, PROCESSORS - taken)
    await kube.delete(alone.metadata.name)
    await until_allowed(kube, shared.metadata.name, PROCESSORS)
    assert (await kube.api.pods())[shared.metadata.name].container() == shared.container()


async def test_limits_are_what_the_kubelet_says(kube: Node) -> None:
    resources = {
        "requests": {"cpu": "100m", "memory": "32Mi"},
        "limits": {"cpu": "500m", "memory": "64Mi"},
    }
    main = shell("main", kube.image(BUSYBOX), resources=resources)
    found = await kube.run(pod("limited", [main]))
    status = await kube.cri.status(found.container().container_id.partition("://")[2])
    linux = status.resources.linux
    assert (linux.cpu_quota, linux.cpu_period, linux.cpu_shares) == (50000, 100000, 102)
    assert linux.memory_limit_in_bytes == 64 << 20
    score = await kube.exec(found.metadata.name, "cat", "/proc/1/oom_score_adj")
    assert 2 <= int(score) < 1000  # Burstable
