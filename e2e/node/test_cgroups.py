"""What the kernel is told of a container's limits on cgroup v2, with both cgroup drivers."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, Running, code
from e2e.node.installed import CGROUPS, cgroup_of, systemctl

pytestmark = pytest.mark.root

SLEEP = ["sleep", "600"]
HUNGRY = "a=0123456789abcdef; while :; do a=$a$a; done"


def kubepods(driver: str, name: str) -> str:
    """Return a pod's parent as the kubelet names it."""
    uid = f"{name}{os.getpid()}"
    if driver == "systemd":
        return f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice"
    return f"/kubepods/burstable/pod{uid}"


@contextlib.contextmanager
def parent_of_pods(driver: str, name: str) -> Iterator[str]:
    """Make a pod's cgroup, and remove it after: that is the kubelet's work."""
    parent = kubepods(driver, name)
    directory = CGROUPS / parent.lstrip("/")
    if driver == "systemd":
        systemctl("start", directory.name)
    else:
        directory.mkdir(parents=True)
        for folder in (CGROUPS, CGROUPS / "kubepods", CGROUPS / "kubepods/burstable", directory):
            (folder / "cgroup.subtree_control").write_text("+cpuset +cpu +memory +pids")
    try:
        yield parent
    finally:
        assert [path.name for path in directory.iterdir() if path.is_dir()] == []
        if driver == "systemd":
            systemctl("stop", "kubepods.slice")
        else:
            for folder in (directory, directory.parent, directory.parent.parent):
                folder.rmdir()


def values(directory: Path, *names: str) -> dict[str, str]:
    return {name: (directory / name).read_text().strip() for name in names}


async def limited(
    cri: Client, running: Running, image: str, resources: pb.LinuxContainerResources
) -> str:
    container = Container(name="main", image=image, command=SLEEP)
    config = container.config(running.pod)
    config.linux.resources.CopyFrom(resources)
    return await cri.run(running, container, config)


async def test_a_kubelet_is_told_who_owns_the_cgroups(cri: Client, driver: str) -> None:
    answer = await cri.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert answer.linux.cgroup_driver == pb.CgroupDriver.Value(driver.upper())


async def test_limits_reach_the_kernel(
    cri: Client, image: str, driver: str, handler: str, logs: Path
) -> None:
    resources = pb.LinuxContainerResources(
        cpu_period=50_000,
        cpu_quota=20_000,
        cpu_shares=2048,
        memory_limit_in_bytes=64 << 20,
        cpuset_cpus="0",
        cpuset_mems="0",
        oom_score_adj=321,
        unified={"memory.high": str(48 << 20), "pids.max": "77", "memory.oom.group": "1"},
    )
    with parent_of_pods(driver, "limits") as parent:
        pod = Pod(name="limits", logs=logs, cgroup_parent=parent)
        async with cri.pod(pod, handler) as running:
            container = await limited(cri, running, image, resources)
            pid = await cri.pid(container)
            directory = cgroup_of(pid)
            assert str(directory).startswith(f"{CGROUPS}{parent}/")
            assert container in directory.name
            assert directory.name.endswith(".scope") == (driver == "systemd")
            assert values(
                directory,
                "cpu.max",
                "memory.max",
                "memory.high",
                "memory.oom.group",
                "memory.swap.max",
                "pids.max",
                "cpuset.cpus",
                "cpuset.mems",
            ) == {
                "cpu.max": "20000 50000",
                "memory.max": str(64 << 20),
                "memory.high": str(48 << 20),
                "memory.oom.group": "1",
                "memory.swap.max": "0",
                "pids.max": "77",
                "cpuset.cpus": "0",
                "cpuset.mems": "0",
            }
            weight = int((directory / "cpu.weight").read_text())
            assert 75 <= weight <= 200  # runtimes map 2048 shares by two formulas
            assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"
            await follow_update(cri, container, directory)
            if driver == "systemd":
                systemctl("daemon-reload")  # systemd writes what it knows once more
                assert values(directory, "cpu.max", "memory.max") == {
                    "cpu.max": "30000 50000",
                    "memory.max": str(96 << 20),
                }


async def follow_update(cri: Client, container: str, directory: Path) -> None:
    """Change limits of a running container and look at the kernel's and at ferry's own view."""
    await cri.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(
            container_id=container,
            linux=pb.LinuxContainerResources(
                cpu_quota=30_000,
                cpu_period=50_000,
                memory_limit_in_bytes=96 << 20,
                unified={"memory.high": "max"},
            ),
        )
    )
    assert values(directory, "cpu.max", "memory.max", "memory.high", "pids.max") == {
        "cpu.max": "30000 50000",
        "memory.max": str(96 << 20),
        "memory.high": "max",
        "pids.max": "77",
    }
    told = (await cri.status(container)).resources.linux
    assert (told.cpu_quota, told.memory_limit_in_bytes) == (30_000, 96 << 20)


async def test_an_update_that_fails_halfway_changes_nothing(
    cri: Client, image: str, driver: str, handler: str, logs: Path
) -> None:
    """No machine has this processor. systemd must not bring the refused limits back, either."""
    names = ("cpu.max", "cpu.weight", "memory.max", "memory.high", "memory.swap.max", "cpuset.cpus")
    async with cri.pod(Pod(name="half", logs=logs), handler) as running:
        container = await cri.run(running, Container(name="main", image=image, command=SLEEP))
        directory = cgroup_of(await cri.pid(container))
        before = values(directory, *names)
        request = pb.UpdateContainerResourcesRequest(
            container_id=container,
            linux=pb.LinuxContainerResources(
                cpu_quota=30_000,
                cpu_shares=2048,
                memory_limit_in_bytes=96 << 20,
                cpuset_cpus="8000",
                unified={"memory.high": str(48 << 20)},
            ),
        )
        with pytest.raises(aio.AioRpcError, match="update"):
            await cri.runtime.UpdateContainerResources(request)
        assert values(directory, *names) == before
        if driver == "systemd":
            systemctl("daemon-reload")
            assert values(directory, *names) == before
        told = (await cri.status(container)).resources.linux
        assert (told.memory_limit_in_bytes, told.cpuset_cpus) == (128 << 20, "")
        assert not told.unified
        request.linux.CopyFrom(pb.LinuxContainerResources(memory_limit_in_bytes=4096))
        with pytest.raises(aio.AioRpcError, match="bytes of memory, more than") as error:
            await cri.runtime.UpdateContainerResources(request)
        assert code(error.value) is StatusCode.FAILED_PRECONDITION
        assert values(directory, *names) == before


async def test_a_pod_without_a_parent(cri: Client, image: str, handler: str, logs: Path) -> None:
    async with cri.pod(Pod(name="alone", logs=logs), handler) as running:
        container = await cri.run(running, Container(name="main", image=image, command=SLEEP))
        directory = cgroup_of(await cri.pid(container))
        assert f"ferry-{running.id}" in str(directory)
        assert container in directory.name


@pytest.mark.parametrize("group", ["0", "1"], ids=["main process", "whole group"])
async def test_running_out_of_memory_is_told(
    cri: Client, image: str, handler: str, logs: Path, group: str
) -> None:
    """With memory.oom.group a child's hunger ends the container, as the kubelet wants it."""
    command = ["sh", "-c", HUNGRY if group == "0" else f"sh -c '{HUNGRY}'; sleep 600"]
    container = Container(name="main", image=image, command=command)
    async with cri.pod(Pod(name="oom", logs=logs), handler) as running:
        config = container.config(running.pod)
        config.linux.resources.memory_limit_in_bytes = 24 << 20
        config.linux.resources.unified["memory.oom.group"] = group
        identifier = await cri.run(running, container, config)
        status = await cri.exited(identifier, seconds=120)
        assert (status.reason, status.exit_code) == ("OOMKilled", 137)


async def test_stop_ends_everything_of_a_container_in_the_nodes_pid_namespace(
    cri: Client, image: str, handler: str, logs: Path
) -> None:
    """Nothing but its cgroup holds such a container together."""
    command = ["sh", "-c", "sleep 601 & setsid sleep 602 & exec sleep 600"]
    async with cri.pod(Pod(name="host", logs=logs, pid="NODE"), handler) as running:
        container = await cri.run(running, Container(name="main", image=image, command=command))
        directory = cgroup_of(await cri.pid(container))
        code, output, _ = await cri.exec(container, "sh", "-c", "sleep 603 >/dev/null 2>&1 &")
        assert (code, output) == (0, b"")
        assert len((directory / "cgroup.procs").read_text().split()) == 4
        await cri.stop(container)
        await cri.exited(container)
        await cri.remove(container)
        assert not directory.exists()
        listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert "sleep 60" not in listing.stdout


async def test_statistics_are_read_from_the_cgroup(
    cri: Client, image: str, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="stats", logs=logs), handler) as running:
        busy = Container(name="main", image=image, command=["sh", "-c", "while :; do :; done"])
        container = await cri.run(running, busy)
        directory = cgroup_of(await cri.pid(container))
        await asyncio.sleep(1.1)
        answer = await cri.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container))
        stats = answer.stats
        used = dict(line.split() for line in (directory / "cpu.stat").read_text().splitlines())
        assert 0 < stats.cpu.usage_core_nano_seconds.value <= int(used["usage_usec"]) * 1000
        assert stats.memory.usage_bytes.value > 0
        left = stats.memory.available_bytes.value
        assert left == (128 << 20) - stats.memory.working_set_bytes.value
        assert stats.swap.swap_usage_bytes.value == 0
        told = Path("/proc/pressure/cpu").exists()
        assert stats.cpu.HasField("psi") == stats.memory.HasField("psi") == told
        assert stats.HasField("io") == told
        if told:
            assert stats.cpu.psi.Some.Total > 0
        metrics = await cri.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
        names = {metric.name for metric in metrics.pod_metrics[0].container_metrics[0].metrics}
        assert {"container_threads", "container_spec_cpu_shares", "container_memory_rss"} <= names
        assert ("container_pressure_cpu_waiting_seconds_total" in names) == told
        listed = await cri.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest())
        (pod,) = listed.stats
        assert pod.linux.process.process_count.value == 1
        assert pod.linux.memory.usage_bytes.value >= stats.memory.rss_bytes.value
