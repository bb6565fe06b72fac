"""The daemon is killed at many moments of each call; a new one finds what lives, and no more."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, Running, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import Daemon
from e2e.images import BUSYBOX
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

RUNNING = pb.CONTAINER_RUNNING
MOMENTS = 8
SLEEP = ["sleep", "600"]


@pytest.fixture
async def own(make_daemon: DaemonMaker, registry: Registry, logs: Path) -> AsyncIterator[Daemon]:
    """A daemon of the test's own, warmed up; afterwards nothing but its shelves is left."""
    daemon = make_daemon()
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        async with client.pod(Pod(name="warm", logs=logs), "crun") as running:
            await client.run(running, Container(name="main", image=image, command=SLEEP))
    before = Snapshot.take(daemon.state, processes=False)
    kept = snapshots(daemon)
    yield daemon
    left = await leaks(before, daemon.state, processes=False)
    assert not left, "left behind:\n" + "\n".join(left)
    async with asyncio.timeout(10):
        while len(snapshots(daemon)) != len(kept):
            await asyncio.sleep(0.05)


def snapshots(daemon: Daemon) -> list[Path]:
    """Return the directories of layers; a layer that is pulled again gets another number."""
    return list((daemon.root / "snapshots").glob("[0-9]*"))


async def life(client: Client, pod: Pod, image: str) -> Running:
    """Run a pod with one container, again and again until it runs.

    One with users of its own also mounts the image.
    """
    running = await client.run_pod(pod, "crun")
    volume = pb.Mount(container_path="/vol", readonly=True, image=pb.ImageSpec(image=image))
    mounts = [volume] if pod.users else []
    container = Container(name="main", image=image, command=SLEEP, mounts=mounts)
    for status in await client.list(pb.ContainerFilter(pod_sandbox_id=running.id)):
        if status.state == RUNNING:
            return running
    await client.run(running, container)
    return running


async def killed_during(
    daemon: Daemon, call: Callable[[Client], Awaitable[object]], after: float
) -> None:
    """Send a call, kill the daemon `after` seconds, and start it anew."""
    async with connected(daemon.address) as client, asyncio.TaskGroup() as group:

        async def send() -> None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call(client)

        group.create_task(send())
        await asyncio.sleep(after)
        await asyncio.to_thread(daemon.kill)
    await asyncio.to_thread(daemon.start)


async def image_of(client: Client, registry: Registry) -> str:
    image = await client.image(registry.reference(BUSYBOX))
    assert image is not None, "the image is gone"
    return image.id


@pytest.mark.parametrize("users", [None, (200_000, 65_536)], ids=["plain", "mapped, with image"])
async def test_during_run_and_start(
    own: Daemon, registry: Registry, logs: Path, users: tuple[int, int] | None
) -> None:
    for number in range(MOMENTS):
        pod = Pod(name=f"crash-{number}", logs=logs, users=users)
        async with connected(own.address) as client:
            image = await image_of(client, registry)
        await killed_during(own, partial(life, pod=pod, image=image), number * 0.008)
        async with connected(own.address) as client:
            again = await life(client, pod, image)
            ready = [each for each in await client.list_pods() if each.metadata.name == pod.name]
            assert [each.id for each in ready] == [again.id]
            (container,) = await client.list(pb.ContainerFilter(pod_sandbox_id=again.id))
            assert await client.output(container.id, "echo", "alive") == "alive"
            if users:
                assert "busybox" in await client.output(container.id, "ls", "/vol/bin")
            await client.stop_pod(again.id)
            await client.remove_pod(again.id)


async def test_during_stop_and_remove(own: Daemon, registry: Registry, logs: Path) -> None:
    for number in range(MOMENTS):
        async with connected(own.address) as client:
            image = await image_of(client, registry)
            running = await life(client, Pod(name=f"end-{number}", logs=logs), image)

        async def end(client: Client, id_: str = running.id) -> None:
            await client.stop_pod(id_)
            await client.remove_pod(id_)

        await killed_during(own, end, number * 0.005)
        async with connected(own.address) as client:
            await end(client)
            assert await client.list_pods() == []
            assert await client.list() == []


async def run_all(client: Client, pods: list[Pod]) -> None:
    async def one(pod: Pod) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await client.run_pod(pod)

    async with asyncio.TaskGroup() as group:
        for pod in pods:
            group.create_task(one(pod))


async def remove_all(client: Client) -> None:
    async def one(sandbox: str) -> None:
        await client.stop_pod(sandbox)
        await client.remove_pod(sandbox)

    async with asyncio.TaskGroup() as group:
        for pod in await client.list_pods():
            group.create_task(one(pod.id))


async def test_while_sixty_pods_start_at_once(own: Daemon, logs: Path) -> None:
    limits = {"kubernetes.io/egress-bandwidth": "10M"}
    for number in range(4):
        pods = [
            Pod(name=f"many-{number}-{each}", logs=logs, ports=[(21000 + each, 80)])
            for each in range(60)
        ]
        pods[::10] = [replace(pod, annotations=limits) for pod in pods[::10]]
        await killed_during(own, partial(run_all, pods=pods), 0.05 + number * 0.15)
        async with connected(own.address) as client:
            await remove_all(client)
            assert await client.list_pods() == []


async def test_during_a_pull(own: Daemon, registry: Registry) -> None:
    reference = registry.reference(BUSYBOX)
    async with connected(own.address) as client:
        await client.remove_image(reference)
    for number in range(MOMENTS):
        await killed_during(own, lambda client: client.pull(reference), number * 0.03)
        async with connected(own.address) as client:
            image = await client.image(reference)
            assert await client.pull(reference) == (
                image.id if image else await image_of(client, registry)
            )
            if number < MOMENTS - 1:
                await client.remove_image(reference)


async def test_processes_logs_and_exit_codes_go_on_without_the_daemon(
    own: Daemon, registry: Registry, logs: Path
) -> None:
    script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 7"
    pod = Pod(name="goes-on", logs=logs)
    async with connected(own.address) as client:
        image = await image_of(client, registry)
        running = await client.run_pod(pod, "crun")
        counting = Container(name="count", image=image, command=["sh", "-c", script])
        counter = await client.run(running, counting)
        sleeper = await client.run(running, Container(name="main", image=image, command=SLEEP))
        before = await pid_of(client, sleeper)
        address = (await client.pod_status(running.id)).network.ip
    for _ in range(3):
        await asyncio.to_thread(own.restart, crash=True)
    await asyncio.to_thread(own.kill)
    await gone(pod.log_directory / "count" / "0.log", "line 199")
    await asyncio.to_thread(own.start)
    async with connected(own.address) as client:
        assert await pid_of(client, sleeper) == before
        assert (await client.pod_status(running.id)).network.ip == address
        ended = await client.exited(counter)
        assert (ended.exit_code, ended.reason) == (7, "Error")
        lines = (pod.log_directory / "count" / "0.log").read_text().splitlines()
        assert [line.split(" ", 3)[3] for line in lines] == [f"line {n}" for n in range(200)]
        await client.stop_pod(running.id)
        await client.remove_pod(running.id)


async def pid_of(client: Client, container: str) -> Mapping[str, str]:
    return (await client.verbose(container)).info


async def gone(log: Path, last: str) -> None:
    """Wait until a log's last line is there."""
    async with asyncio.timeout(30):
        while last not in log.read_text():
            await asyncio.sleep(0.05)


async def test_addresses_are_not_given_twice(own: Daemon, registry: Registry, logs: Path) -> None:
    seen: dict[str, str] = {}
    for number in itertools.count():
        async with connected(own.address) as client:
            running = await client.run_pod(Pod(name=f"address-{number}", logs=logs), "crun")
            address = (await client.pod_status(running.id)).network.ip
        assert address not in seen.values()
        seen[running.id] = address
        await asyncio.to_thread(own.restart, crash=True)
        if number == 5:
            break
    async with connected(own.address) as client:
        now = {
            pod.id: (await client.pod_status(pod.id)).network.ip for pod in await client.list_pods()
        }
        assert now == seen
        for id_ in seen:
            await client.stop_pod(id_)
            await client.remove_pod(id_)


def test_a_second_daemon_on_the_same_root_is_refused(own: Daemon) -> None:
    second = own.spawn(notify=False)
    assert second.wait(20) == 1
    assert f"{os.getpid()}" not in own.tail(1)
    assert str(own.pid) in own.tail(3)
