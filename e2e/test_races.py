"""Many clients at once, calls that are cut short, calls in an order nobody meant."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from pathlib import Path

import grpc

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.images import BUSYBOX

CLIENTS = 32
SECONDS = 12.0
SLEEP = ["sleep", "600"]
# What a race may end in: the thing is gone, in another state, taken, or being made otherwise.
EXPECTED = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
}


async def test_the_same_create_fifty_times_makes_one_container(
    cri: Client, images: Mapping[str, str], handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="fifty", logs=logs), handler) as running:
        wanted = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(cri.create(running, wanted)) for _ in range(50)]
        assert len({task.result() for task in tasks}) == 1
        assert len(await cri.list()) == 1


async def test_a_create_cut_at_any_moment_can_be_sent_again(
    cri: Client, images: Mapping[str, str], handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="cut", logs=logs), handler) as running:
        for number in range(20):
            wanted = Container(name=f"main-{number}", image=images[BUSYBOX], command=SLEEP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(number * 0.001):
                    await cri.create(running, wanted)
            container = await cri.create(running, wanted)
            named = [each for each in await cri.list() if each.metadata.name == wanted.name]
            assert [each.id for each in named] == [container]
            await cri.start(container)
            await cri.remove(container)


async def test_a_run_cut_at_any_moment_can_be_sent_again(
    cri: Client, handler: str, logs: Path
) -> None:
    for number in range(20):
        pod = Pod(name=f"cut-{number}", logs=logs)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(number * 0.001):
                await cri.run_pod(pod, handler)
        running = await cri.run_pod(pod, handler)
        assert [each.id for each in await cri.list_pods()] == [running.id]
        await cri.stop_pod(running.id)
        await cri.remove_pod(running.id)


class Chaos:
    """One client that does anything to a few pods everybody shares."""

    def __init__(self, cri: Client, image: str, logs: Path, seed: int) -> None:
        self._cri = cri
        self._image = image
        self._logs = logs
        self._random = random.Random(seed)  # noqa: S311 - a test's own dice
        self.surprises: list[str] = []

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            try:
                await self._one()
            except grpc.aio.AioRpcError as error:
                if code(error) not in EXPECTED:
                    self.surprises.append(f"{code(error)}: {error.details()}")

    async def _one(self) -> None:
        name = f"shared-{self._random.randrange(4)}"
        running = await self._cri.run_pod(Pod(name=name, logs=self._logs), "crun")
        wanted = Container(
            name=f"main-{self._random.randrange(2)}", image=self._image, command=SLEEP
        )
        container = await self._cri.create(running, wanted)
        for _ in range(self._random.randrange(4)):
            await self._anything(container)
        if self._random.random() < 0.3:
            await self._cri.stop_pod(running.id)
        if self._random.random() < 0.3:
            await self._cri.remove_pod(running.id)

    async def _anything(self, container: str) -> None:
        match self._random.randrange(5):
            case 0:
                await self._cri.start(container)
            case 1:
                await self._cri.stop(container)
            case 2:
                await self._cri.remove(container)
            case 3:
                await self._cri.exec(container, "true")
            case _:
                await self._cri.status(container)


async def test_thirty_two_clients_in_any_order_leave_nothing(
    cri: Client, images: Mapping[str, str], logs: Path
) -> None:
    chaos = [Chaos(cri, images[BUSYBOX], logs, seed) for seed in range(CLIENTS)]
    until = time.monotonic() + SECONDS
    async with asyncio.timeout(SECONDS + 60), asyncio.TaskGroup() as group:
        for one in chaos:
            group.create_task(one.run(until))
    assert [text for one in chaos for text in one.surprises] == []
    for pod in await cri.list_pods():
        await cri.stop_pod(pod.id)
        await cri.remove_pod(pod.id)
    assert await cri.list() == []


async def test_lists_answer_while_everything_else_is_busy(
    cri: Client, images: Mapping[str, str], logs: Path
) -> None:
    slow = [time.monotonic()]
    worst = 0.0

    async def life(number: int) -> None:
        async with cri.pod(Pod(name=f"busy-{number}", logs=logs), "crun") as running:
            await cri.run(running, Container(name="m", image=images[BUSYBOX], command=SLEEP))

    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(life(number)) for number in range(16)]
        while not all(task.done() for task in lives):
            slow[0] = time.monotonic()
            await cri.list(pb.ContainerFilter())
            worst = max(worst, time.monotonic() - slow[0])
            await asyncio.sleep(0.01)
    assert worst < 2.0
