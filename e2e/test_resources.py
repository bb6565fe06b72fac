"""New limits of what runs: all of them or none, told as they are, with both OCI runtimes."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import default_settings
from e2e.images import BUSYBOX
from e2e.registry import Registry

pytestmark = pytest.mark.root

Images = Mapping[str, str]
MIB = 1 << 20
V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()

# By the field of a request: its file, and what it says of a number.
_V1 = {
    "memory_limit_in_bytes": "memory/memory.limit_in_bytes",
    "memory_swap_limit_in_bytes": "memory/memory.memsw.limit_in_bytes",
    "cpu_quota": "cpu/cpu.cfs_quota_us",
    "cpu_period": "cpu/cpu.cfs_period_us",
    "cpu_shares": "cpu/cpu.shares",
    "cpuset_cpus": "cpuset/cpuset.cpus",
}
_V2 = {
    "memory_limit_in_bytes": "memory.max",
    "memory_swap_limit_in_bytes": "memory.swap.max",
    "cpu_quota": "cpu.max",
    "cpu_shares": "cpu.weight",
    "cpuset_cpus": "cpuset.cpus",
}


def sleeper(images: Images, *, memory: int = 128 * MIB) -> Container:
    return Container(name="main", image=images[BUSYBOX], command=["sleep", "600"], memory=memory)


def cgroup_files(pid: int) -> dict[str, str]:
    """Return what the kernel has for each field, from the cgroups of a process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    root = Path("/sys/fs/cgroup")
    found = {}
    for field, name in (_V2 if V2 else _V1).items():
        controller, _, file = name.rpartition("/")
        path = root / controller / paths[controller] / file
        if path.exists():
            found[field] = path.read_text().strip()
    return found


async def limits(client: Client, container: str) -> dict[str, str]:
    return await asyncio.to_thread(cgroup_files, await client.pid(container))


async def update(client: Client, container: str, **fields: object) -> None:
    message = pb.LinuxContainerResources(**fields)  # type: ignore[arg-type] # any field
    await client.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(container_id=container, linux=message)
    )


async def refused(client: Client, container: str, **fields: object) -> StatusCode:
    """Return how an update that must fail did."""
    with pytest.raises(aio.AioRpcError) as error:
        await update(client, container, **fields)
    return code(error.value)


async def reported(client: Client, container: str) -> pb.LinuxContainerResources:
    return (await client.status(container)).resources.linux


async def test_what_is_asked_for_is_in_force_and_reported(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="resize", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        before = await reported(cri, container)
        assert (before.memory_limit_in_bytes, before.cpu_shares) == (128 * MIB, 102)
        await update(
            cri, container, memory_limit_in_bytes=256 * MIB, cpu_quota=50_000, cpu_shares=512
        )
        told = await reported(cri, container)
        assert (told.memory_limit_in_bytes, told.cpu_quota, told.cpu_shares, told.cpu_period) == (
            256 * MIB,
            50_000,
            512,
            100_000,
        )
        assert told.oom_score_adj == before.oom_score_adj
        found = await limits(cri, container)
        assert found["memory_limit_in_bytes"] == str(256 * MIB)
        assert found["cpu_quota"].split()[0] == "50000"
        if not V2:
            assert (found["cpu_shares"], found["cpu_period"]) == ("512", "100000")
        await update(cri, container, memory_limit_in_bytes=64 * MIB, cpu_quota=-1)
        found = await limits(cri, container)
        assert found["memory_limit_in_bytes"] == str(64 * MIB)
        assert found["cpu_quota"].split()[0] in {"-1", "max"}
        assert (await reported(cri, container)).cpu_quota == -1
        stats = await cri.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container))
        memory = stats.stats.memory
        assert memory.available_bytes.value == 64 * MIB - memory.working_set_bytes.value


async def test_a_container_that_never_ran_takes_new_limits(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="early", logs=logs), handler) as running:
        container = await cri.create(running, sleeper(images))
        await update(cri, container, memory_limit_in_bytes=256 * MIB)
        await cri.start(container)
        found = await limits(cri, container)
        assert found["memory_limit_in_bytes"] == str(256 * MIB)
        assert (await reported(cri, container)).memory_limit_in_bytes == 256 * MIB


async def test_what_fails_halfway_changes_nothing(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    """No machine has this processor; by then the runtimes have set the others."""
    async with cri.pod(Pod(name="half", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        before, told = await limits(cri, container), await reported(cri, container)
        for fields in (
            {"memory_limit_in_bytes": 64 * MIB, "cpu_shares": 512, "cpuset_cpus": "8000"},
            {"memory_limit_in_bytes": 512 * MIB, "cpu_quota": 5000, "cpuset_cpus": "8000"},
        ):
            with pytest.raises(aio.AioRpcError, match="update"):
                await update(cri, container, **fields)
            assert await limits(cri, container) == before
            assert await reported(cri, container) == told
        await update(cri, container, memory_limit_in_bytes=64 * MIB, cpuset_cpus="0")
        assert (await limits(cri, container))["cpuset_cpus"] == "0"
        assert (await reported(cri, container)).cpuset_cpus == "0"


async def test_less_memory_than_it_uses_is_refused(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="below", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        await cri.output(container, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=40")
        before = await limits(cri, container)
        with pytest.raises(
            aio.AioRpcError, match=r"it uses \d+ bytes of memory, more than"
        ) as error:
            await update(cri, container, memory_limit_in_bytes=30 * MIB, cpu_shares=512)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION
        assert await limits(cri, container) == before
        assert (await reported(cri, container)).memory_limit_in_bytes == 128 * MIB
        await cri.output(container, "rm", "/dev/shm/x")
        await update(cri, container, memory_limit_in_bytes=30 * MIB, cpu_shares=512)
        assert (await limits(cri, container))["memory_limit_in_bytes"] == str(30 * MIB)


async def test_files_that_can_be_read_again_are_no_hindrance(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="cache", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        await cri.output(container, "dd", "if=/dev/zero", "of=/var/x", "bs=1M", "count=40")
        await cri.output(container, "sync")
        await update(cri, container, memory_limit_in_bytes=30 * MIB)
        assert (await limits(cri, container))["memory_limit_in_bytes"] == str(30 * MIB)


async def test_unified_files_are_set_where_there_are_any(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="unified", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        unified = {"memory.high": str(100 * MIB)}
        if V2:
            await update(cri, container, unified=unified)
            assert dict((await reported(cri, container)).unified) == unified
            return
        before = await limits(cri, container)
        with pytest.raises(aio.AioRpcError, match=r"unified.*cgroup v1") as error:
            await update(cri, container, unified=unified, memory_limit_in_bytes=64 * MIB)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION
        assert await limits(cri, container) == before
        config = Container(name="other", image=images[BUSYBOX]).config(running.pod)
        config.linux.resources.unified.update(unified)
        with pytest.raises(aio.AioRpcError, match=r"unified.*cgroup v1") as error:
            await cri.create(running, Container(name="other", image=images[BUSYBOX]), config)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cpu_quota": 1}, "cpu_quota"),
        ({"cpu_period": 7}, "cpu_period"),
        ({"memory_limit_in_bytes": -5}, "memory_limit_in_bytes"),
        ({"memory_limit_in_bytes": 64 * MIB, "memory_swap_limit_in_bytes": MIB}, "memory_swap"),
        ({"cpuset_cpus": "0-"}, "cpuset_cpus"),
        ({"hugepage_limits": [pb.HugepageLimit(page_size="2MB", limit=2 * MIB)]}, "hugepage"),
        ({"unified": {"../../x": "1"}}, "unified"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_can_never_be_is_refused_by_field(
    cri: Client, images: Images, logs: Path, fields: dict[str, object], text: str
) -> None:
    async with cri.pod(Pod(name="bad", logs=logs)) as running:
        container = await cri.run(running, sleeper(images))
        before = await limits(cri, container)
        with pytest.raises(aio.AioRpcError, match=text) as error:
            await update(cri, container, cpu_shares=512, **fields)
        assert code(error.value) in {StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION}
        assert await limits(cri, container) == before


async def test_what_a_kubelet_sends_with_every_resize_changes_nothing_else(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    """It names every size of hugepages with 0, and the score that the container has anyway."""
    async with cri.pod(Pod(name="kubelet", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        pages = [pb.HugepageLimit(page_size=size, limit=0) for size in ("2MB", "1GB")]
        await update(
            cri,
            container,
            cpu_period=100_000,
            cpu_quota=20_000,
            cpu_shares=204,
            memory_limit_in_bytes=200 * MIB,
            oom_score_adj=1000,
            hugepage_limits=pages,
        )
        told = await reported(cri, container)
        assert (told.cpu_quota, told.memory_limit_in_bytes) == (20_000, 200 * MIB)
        assert list(told.hugepage_limits) == []


async def test_an_ended_container_takes_no_limits(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="ended", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        await cri.stop(container)
        with pytest.raises(aio.AioRpcError) as error:
            await update(cri, container, cpu_shares=512)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION
        assert (await reported(cri, container)).cpu_shares == 102
        with pytest.raises(aio.AioRpcError) as error:
            await update(cri, "nosuch", cpu_shares=512)
        assert code(error.value) is StatusCode.NOT_FOUND


async def test_many_updates_at_once_end_in_one_of_them(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="many", logs=logs), handler) as running:
        container = await cri.run(running, sleeper(images))
        async with asyncio.TaskGroup() as group:
            for number in range(64, 72):
                group.create_task(update(cri, container, memory_limit_in_bytes=number * MIB))
        told = (await reported(cri, container)).memory_limit_in_bytes
        assert told in {number * MIB for number in range(64, 72)}
        assert (await limits(cri, container))["memory_limit_in_bytes"] == str(told)


async def test_an_update_that_dies_with_the_daemon_is_undone_by_the_next(
    registry: Registry, make_daemon: DaemonMaker, tmp_path: Path, logs: Path
) -> None:
    """The handler's program applies the limits, and then hangs until the daemon is killed."""
    slow, done = tmp_path / "slow", tmp_path / "done"
    crun = shutil.which("crun", path=f"/opt/ferry/bin:{os.environ['PATH']}")
    wait = f"echo $$ >{done}.new; mv {done}.new {done}; exec sleep 600"
    hang = f'case " $* " in *" update "*) {crun} "$@"; {wait};; esac'
    slow.write_text(f'#!/bin/sh\n{hang}\nexec {crun} "$@"\n')
    slow.chmod(0o755)
    settings = default_settings(tmp_path / "daemon0", number=1)
    daemon = make_daemon({**settings, "runtimes.slow": {"binary": str(slow)}})
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        pod = await client.run_pod(Pod(name="slow", logs=logs), "slow")
        container = await client.run(pod, sleeper({BUSYBOX: image}))
        before = await limits(client, container)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(refused(client, container, memory_limit_in_bytes=64 * MIB))
            async with asyncio.timeout(20):
                while not done.exists():
                    await asyncio.sleep(0.02)
            assert await limits(client, container) != before
            await asyncio.to_thread(daemon.restart, crash=True)
        assert call.result() is StatusCode.UNAVAILABLE
        os.kill(int(done.read_text()), signal.SIGKILL)
    async with connected(daemon.address) as client:
        assert await limits(client, container) == before
        assert (await reported(client, container)).memory_limit_in_bytes == 128 * MIB
        await client.stop_pod(pod.id)
        await client.remove_pod(pod.id)


async def test_a_kubelet_is_told_who_owns_the_cgroups(cri: Client) -> None:
    answer = await cri.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert answer.linux.cgroup_driver == pb.CGROUPFS


# --- limits of a pod


async def test_new_limits_of_a_pod_are_agreed_to_and_reported(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="resize", logs=logs)) as running:
        container = await cri.run(running, sleeper(images))
        await cri.output(container, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=20")
        request = pb.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=running.id,
            resources=pb.LinuxContainerResources(memory_limit_in_bytes=64 * MIB, cpu_shares=512),
        )
        await cri.runtime.UpdatePodSandboxResources(request)
        answer = await cri.runtime.PodSandboxStatus(
            pb.PodSandboxStatusRequest(pod_sandbox_id=running.id, verbose=True)
        )
        assert '"memory_limit": 67108864' in answer.info["info"]
        request.resources.memory_limit_in_bytes = 10 * MIB
        with pytest.raises(aio.AioRpcError, match="more than the new limit of 10485760") as error:
            await cri.runtime.UpdatePodSandboxResources(request)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION


async def test_no_pod_that_has_stopped_takes_new_limits(cri: Client, logs: Path) -> None:
    async with cri.pod(Pod(name="resize", logs=logs)) as running:
        await cri.stop_pod(running.id)
        request = pb.UpdatePodSandboxResourcesRequest(pod_sandbox_id=running.id)
        with pytest.raises(aio.AioRpcError) as error:
            await cri.runtime.UpdatePodSandboxResources(request)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION


async def test_a_pods_overhead_is_noted_and_counts(cri: Client, images: Images, logs: Path) -> None:
    pod = Pod(name="overhead", logs=logs)
    config = pod.config()
    config.linux.overhead.memory_limit_in_bytes = 30 * MIB
    running = await cri.run_pod(pod, config=config)
    try:
        container = await cri.run(running, sleeper(images))
        await cri.output(container, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=40")
        request = pb.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=running.id,
            resources=pb.LinuxContainerResources(memory_limit_in_bytes=30 * MIB),
        )
        await cri.runtime.UpdatePodSandboxResources(request)
        answer = await cri.runtime.PodSandboxStatus(
            pb.PodSandboxStatusRequest(pod_sandbox_id=running.id, verbose=True)
        )
        told = json.loads(answer.info["info"])
        assert told["overhead"]["memory_limit"] == 30 * MIB
        assert told["resources"]["memory_limit"] == 30 * MIB
        request.resources.memory_limit_in_bytes = 5 * MIB
        with pytest.raises(aio.AioRpcError, match=str(35 * MIB)) as error:
            await cri.runtime.UpdatePodSandboxResources(request)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION
        request.resources.memory_limit_in_bytes = -5
        with pytest.raises(aio.AioRpcError, match="memory_limit_in_bytes") as error:
            await cri.runtime.UpdatePodSandboxResources(request)
        assert code(error.value) is StatusCode.INVALID_ARGUMENT
    finally:
        await cri.stop_pod(running.id)
        await cri.remove_pod(running.id)
