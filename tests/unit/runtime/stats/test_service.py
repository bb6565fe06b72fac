"""What a call costs: readings and opens counted; what it answers is in the contract."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    Filter,
    ImageRequest,
    SandboxConfig,
    SandboxMetadata,
)
from runtime.spec import NamespaceMode, NamespaceModes, Security
from runtime.stats.samples import Sampler
from store.database import Database
from tests.podnode import IMAGE, NAMESPACE, Daemon, Ground, daemon
from tests.watched import watched

ALONE = Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER))
CONTAINERS, PODS = 20, 4


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Database(tmp_path / "state.db") as database:
        made = Ground(tmp_path, database)
        made.layout.pods.mkdir(parents=True)
        made.layout.containers.mkdir()
        yield made


async def _populate(one: Daemon, ground: Ground) -> None:
    for pod in range(PODS):
        metadata = SandboxMetadata(name=f"pod-{pod}", uid=f"u-{pod}", namespace="ns")
        sandbox = await one.pods.run(
            NAMESPACE, SandboxConfig(metadata=metadata, security=ALONE), ""
        )
        ground.cgroups.members[one.statistics.cgroup(one.pods.get(NAMESPACE, sandbox))] = []
        for number in range(CONTAINERS // PODS):
            config = ContainerConfig(
                metadata=ContainerMetadata(name=f"c{number}"),
                image=ImageRequest(image=IMAGE),
                command=("/bin/top",),
                security=ALONE,
            )
            id_ = await one.containers.create(NAMESPACE, sandbox, config)
            await one.containers.start(NAMESPACE, id_)


@pytest.fixture
async def crowd(ground: Ground) -> AsyncIterator[Daemon]:
    async with daemon(ground) as one:
        await _populate(one, ground)
        ground.cgroups.readings.clear()
        yield one


async def test_a_list_reads_each_cgroup_once_and_starts_nothing(
    crowd: Daemon, ground: Ground, tmp_path: Path
) -> None:
    with watched(tmp_path) as seen:
        found = await crowd.statistics.containers(NAMESPACE, Filter())
        assert len(found) == CONTAINERS
        assert all(one.sample for one in found)
    readings = Counter(ground.cgroups.readings)
    assert (len(readings), set(readings.values())) == (CONTAINERS, {1})
    assert {detailed for _, detailed in readings} == {False}
    assert seen.started == 0


async def test_a_list_of_pods_shares_the_readings_of_their_containers(
    crowd: Daemon, ground: Ground
) -> None:
    await crowd.statistics.containers(NAMESPACE, Filter())
    ground.cgroups.readings.clear()
    pods = await crowd.statistics.sandboxes(NAMESPACE, Filter())
    assert [len(pod.containers) for pod in pods] == [CONTAINERS // PODS] * PODS
    assert sorted(path for path, _ in ground.cgroups.readings) == sorted(
        crowd.statistics.cgroup(pod.sandbox) for pod in pods
    )


async def test_metrics_read_each_cgroup_once_in_detail(
    crowd: Daemon, ground: Ground, tmp_path: Path
) -> None:
    with watched(tmp_path) as seen:
        details = [one async for one in crowd.statistics.details(NAMESPACE, Filter())]
    assert sum(len(pod.containers) for pod in details) == CONTAINERS
    readings = Counter(ground.cgroups.readings)
    assert (len(readings), set(readings.values())) == (CONTAINERS + PODS, {1})
    assert {detailed for _, detailed in readings} == {True}
    assert seen.started == 0


async def test_one_container_costs_one_reading(crowd: Daemon, ground: Ground) -> None:
    first = crowd.containers.list(NAMESPACE, Filter())[0]
    (found,) = await crowd.statistics.containers(NAMESPACE, Filter(id=first.id))
    assert found.sample is not None
    assert len(ground.cgroups.readings) == 1


_V1_PLAIN = {
    "memory/c/memory.usage_in_bytes": "1\n",
    "memory/c/memory.stat": "total_rss 1\n",
    "memory/c/memory.limit_in_bytes": "1\n",
    "memory/c/memory.memsw.limit_in_bytes": "1\n",
    "cpuacct/c/cpuacct.usage": "1\n",
}
_V2_PLAIN = {
    f"c/{name}": "1\n"
    for name in (
        "memory.current",
        "memory.stat",
        "memory.max",
        "memory.swap.current",
        "memory.swap.max",
        "memory.pressure",
        "cpu.stat",
        "cpu.pressure",
        "io.pressure",
    )
}


@pytest.mark.parametrize(
    ("kind", "files"), [(CgroupsV1, _V1_PLAIN), (CgroupsV2, _V2_PLAIN)], ids=["v1", "v2"]
)
async def test_a_reading_opens_each_file_it_needs_once(
    tmp_path: Path, kind: type[CgroupsV1] | type[CgroupsV2], files: dict[str, str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    sampler = Sampler(kind(tmp_path))
    with watched(tmp_path) as seen:
        await sampler.samples(["/c"])
        await sampler.samples(["/c"])
    assert sorted(seen.opened) == sorted(str(tmp_path / name) for name in files)
    assert seen.started == 0
