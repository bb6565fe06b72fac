"""Cases about pods: one after the other (B2), many at once (B3), probes (B7), a busy disk (B9)."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from e2e.bench.results import Metric, Results, Unit
from e2e.bench.subject import Sleeper, timed

WARM_UPS: Final = 3
_CALLS: Final = (
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "ExecSync",
    "ContainerStatus",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
)


async def one_life(sleeper: Sleeper, name: str) -> dict[str, float]:
    """Take one pod through its life; return the milliseconds of each call."""
    client, times = sleeper.client, {call: list[float]() for call in _CALLS}
    pod = await timed(sleeper.pod(name), times["RunPodSandbox"])
    container = await timed(client.create(pod, sleeper.container()), times["CreateContainer"])
    await timed(client.start(container), times["StartContainer"])
    await timed(client.exec(container, "true"), times["ExecSync"])
    await timed(client.status(container), times["ContainerStatus"])
    await timed(client.stop(container), times["StopContainer"])
    await timed(client.remove(container), times["RemoveContainer"])
    await timed(client.stop_pod(pod.id), times["StopPodSandbox"])
    await timed(client.remove_pod(pod.id), times["RemovePodSandbox"])
    return {call: values[0] for call, values in times.items()}


async def lives(sleeper: Sleeper, results: Results, subject: str, case: str, samples: int) -> None:
    """B2: pods one after the other, each call by itself and what a user waits for in sums."""
    for number in range(WARM_UPS + samples):
        times = await one_life(sleeper, f"life-{number}")
        if number < WARM_UPS:
            continue
        started = times["CreateContainer"] + times["StartContainer"]
        times["Create+Start"] = started
        times["pod to running"] = times["RunPodSandbox"] + started
        for call, milliseconds in times.items():
            results.add(Metric(case, call), subject, milliseconds)


async def churn(sleeper: Sleeper, results: Results, subject: str, pods: int, clients: int) -> None:
    """B3: pods up, then down, by so many clients at once."""
    numbers = iter(range(pods))
    made: list[str] = []

    async def up() -> None:
        for number in numbers:
            pod = await sleeper.pod(f"churn-{clients}-{number}")
            await sleeper.client.run(pod, sleeper.container())
            made.append(pod.id)

    async def down() -> None:
        while made:
            pod = made.pop()
            await sleeper.client.stop_pod(pod)
            await sleeper.client.remove_pod(pod)

    case, who = f"B3 {sleeper.handler}", "1 client" if clients == 1 else f"{clients} clients"
    for name, work in (("up", up), ("down", down)):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(work())
        rate = pods / (time.perf_counter() - began)
        results.add(Metric(case, f"{who}, {name}", Unit.RATE), subject, rate)


async def probes(
    sleeper: Sleeper, results: Results, subject: str, samples: int, seconds: float
) -> None:
    """B7: exec probes in one container, one at a time and ten at once."""
    case = f"B7 {sleeper.handler}"
    pod = await sleeper.pod("probes")
    container = await sleeper.client.run(pod, sleeper.container())
    alone: list[float] = []
    for _ in range(WARM_UPS + samples):
        await timed(sleeper.client.exec(container, "true"), alone)
    results.add(Metric(case, "ExecSync, 1 at a time"), subject, *alone[WARM_UPS:])

    together: list[float] = []
    end = time.perf_counter() + seconds

    async def probe() -> None:
        while time.perf_counter() < end:
            await timed(sleeper.client.exec(container, "true"), together)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(probe())
    rate = len(together) / (time.perf_counter() - began)
    results.add(Metric(case, "ExecSync, 10 at once"), subject, *together)
    results.add(Metric(case, "execs, 10 at once", Unit.RATE), subject, rate)
    await sleeper.client.stop_pod(pod.id)
    await sleeper.client.remove_pod(pod.id)


_STRESS: Final = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
while os.getppid() == int(sys.argv[2]):
    os.pwrite(file, b"x" * 4096, 0)
    os.fsync(file)
"""


@contextmanager
def busy_disk(folder: Path, writers: int = 2) -> Iterator[None]:
    """Let processes write and fsync 4 KB on the file system of `folder` during the block."""
    running: Sequence[subprocess.Popen[bytes]] = [
        subprocess.Popen(
            [sys.executable, "-c", _STRESS, str(folder / f"stress{number}"), str(os.getpid())]
        )
        for number in range(writers)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
