"""Huge pages, limited by either runtime where the controller is mounted."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Container, Pod, code, connected
from e2e.conftest import HANDLERS, DaemonMaker
from e2e.images import BUSYBOX
from e2e.registry import Registry

pytestmark = pytest.mark.root

_CGROUPS = Path("/sys/fs/cgroup")
LIMIT = 4 << 20


@pytest.fixture
def files(node: None) -> Mapping[str, str]:
    """Return where the limit of each size is, below a container's cgroup."""
    if (_CGROUPS / "cgroup.controllers").exists():
        if "hugetlb" not in (_CGROUPS / "cgroup.controllers").read_text().split():
            pytest.skip("this kernel has no hugetlb controller")
        return _named("max")
    if not (_CGROUPS / "hugetlb/cgroup.procs").exists():
        pytest.skip("hugetlb is not mounted: mkdir and mount -t cgroup it before the scope is made")
    return _named("limit_in_bytes")


def _named(file: str) -> Mapping[str, str]:
    sizes = [path.name for path in Path("/sys/kernel/mm/hugepages").glob("hugepages-*")]
    names = {"hugepages-2048kB": "2MB", "hugepages-1048576kB": "1GB", "hugepages-64kB": "64KB"}
    return {names[size]: f"hugetlb.{names[size]}.{file}" for size in sizes if size in names}


def limits(pid: int, files: Mapping[str, str]) -> dict[str, int]:
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {names: path.lstrip("/") for _, names, path in lines}
    top = _CGROUPS / "hugetlb" / paths["hugetlb"] if "hugetlb" in paths else _CGROUPS / paths[""]
    return {size: int((top / name).read_text()) for size, name in files.items()}


async def test_what_was_not_asked_for_may_not_be_used(
    files: Mapping[str, str], registry: Registry, make_daemon: DaemonMaker, logs: Path
) -> None:
    size, others = "2MB", sorted(files.keys() - {"2MB"})
    asked = [pb.HugepageLimit(page_size=size, limit=LIMIT)]
    async with connected(make_daemon().address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        for handler in HANDLERS:
            async with client.pod(Pod(name="huge", logs=logs), handler) as running:
                main = Container(name="main", image=image, command=["sleep", "600"])
                config = main.config(running.pod)
                config.linux.resources.hugepage_limits.extend(asked)
                container = await client.run(running, main, config)
                wanted = {size: LIMIT, **dict.fromkeys(others, 0)}
                assert limits(await client.pid(container), files) == wanted
                told = (await client.status(container)).resources.linux.hugepage_limits
                assert list(told) == asked
                request = pb.UpdateContainerResourcesRequest(
                    container_id=container,
                    linux=pb.LinuxContainerResources(cpu_shares=512, hugepage_limits=asked),
                )
                await client.runtime.UpdateContainerResources(request)
                request.linux.hugepage_limits[0].limit = 2 * LIMIT
                with pytest.raises(aio.AioRpcError, match="cannot change") as error:
                    await client.runtime.UpdateContainerResources(request)
                assert code(error.value) is StatusCode.INVALID_ARGUMENT
                assert limits(await client.pid(container), files) == wanted
                answer = await client.runtime.ListPodSandboxMetrics(
                    pb.ListPodSandboxMetricsRequest()
                )
                (metrics,) = answer.pod_metrics[0].container_metrics
                used = {
                    metric.label_values[-1]: metric.value.value
                    for metric in metrics.metrics
                    if metric.name == "container_hugetlb_usage_bytes"
                }
                assert used == dict.fromkeys(files, 0)
