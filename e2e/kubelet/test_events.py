"""The kubelet listens to the runtime's events, where its gate says so."""

import asyncio
from collections.abc import Iterator

import pytest

from e2e.images import BUSYBOX
from e2e.kubelet import usage
from e2e.kubelet.api import PATIENCE, SECURE
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import pod, shell
from e2e.kubelet.process import Kubelet

PREFIX = "kubelet_evented_pleg_connection_"


@pytest.fixture(scope="module")
def listener(kubelet: Kubelet) -> Iterator[None]:
    with kubelet.changed(featureGates={"EventedPLEG": True}):
        yield


async def counts(kube: Node) -> dict[str, float]:
    text = (await kube.api.get("/metrics", SECURE)).decode()
    told = dict(usage.samples(text, {}))
    return {name.removeprefix(PREFIX): told[name] for name in told if name.startswith(PREFIX)}


async def test_a_kubelet_that_listens_hears_of_every_container(kube: Node, listener: None) -> None:
    kube.expect("CrashLoopBackOff")
    before = (await counts(kube))["latency_seconds_count"]
    main = shell("main", kube.image(BUSYBOX), "exit 0")
    name = kube.apply(pod("heard", [main, shell("other", kube.image(BUSYBOX), "exit 1")]))
    await kube.api.until(name, lambda pod: pod.container().restart_count)
    async with asyncio.timeout(PATIENCE):
        # Created, started and stopped, of two containers.
        while (await counts(kube))["latency_seconds_count"] < before + 6:
            await asyncio.sleep(0.1)
    told = await counts(kube)
    assert told["success_count_total"] >= 1
    assert told.get("error_count_total", 0) == 0
    assert told["latency_seconds_sum"] / told["latency_seconds_count"] < 1
