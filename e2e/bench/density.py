"""Cases about many containers: a thousand starts (B4), memory and idle cost (B5), lists (B6), a
crash in their midst (B10), and a node of idle pods (B5)."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from e2e.bench.results import Metric, Results, Unit
from e2e.bench.subject import Sleeper, Subject, memory, processes_of, timed
from e2e.bench.usage import SIZES, lists, relist, usage
from e2e.client import Client, Running, connected

# What "each further container" is counted from.
_SOME: Final = 300
_WORKERS: Final = 100
_MAKERS: Final = 8


@dataclass(slots=True)
class Crowd:
    """Many containers in few pods."""

    sleeper: Sleeper
    pods: list[Running] = field(default_factory=list)
    containers: int = 0
    waits: list[float] = field(default_factory=list)

    async def grow(self, pods: int, total: int) -> float:
        """Start containers until there are `total`; return how many were started each second."""
        while len(self.pods) < pods:
            self.pods.append(await self.sleeper.pod(f"crowd-{len(self.pods)}"))
        numbers = iter(range(self.containers, total))
        began = time.perf_counter()

        async def work() -> None:
            for number in numbers:
                pod = self.pods[number % pods]
                container = self.sleeper.container(f"c{number}")
                await timed(self.sleeper.client.run(pod, container), self.waits)

        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(work())
        started, self.containers = total - self.containers, total
        return started / (time.perf_counter() - began)

    async def leave(self, client: Client) -> None:
        """Stop and remove all of it."""
        async with asyncio.TaskGroup() as group:
            for pod in self.pods:
                group.create_task(end(client, pod.id))


async def end(client: Client, pod: str) -> None:
    """Stop and remove a pod."""
    await client.stop_pod(pod)
    await client.remove_pod(pod)


def footprint(subject: Subject) -> tuple[float, float]:
    """Return the daemon's RSS, and the PSS of it and all its helpers, in MB."""
    rss, _ = memory(subject.service.pid)
    return rss, sum(memory(pid)[1] for pid in processes_of(subject.service))


async def density(
    subject: Subject, sleeper: Sleeper, results: Results, pods: int, total: int, idle: float
) -> None:
    """B4, B5, B6 and B10 with one crowd."""
    crowd = Crowd(sleeper)
    name, note = subject.name, results.add
    idle_rss, _ = footprint(subject)
    note(Metric("B5 memory", "daemon, idle", Unit.MEGABYTES), name, idle_rss)

    for size in (size for size in SIZES if size < min(_SOME, total)):
        await crowd.grow(pods, size)
        await lists(sleeper.client, results, name, size)
        await usage(sleeper.client, results, name, size)
    some = min(_SOME, total)
    await crowd.grow(pods, some)
    some_rss, some_pss = footprint(subject)
    note(Metric("B5 memory", f"daemon, {some} containers", Unit.MEGABYTES), name, some_rss)
    if total > some:
        crowd.waits.clear()
        rate = await crowd.grow(pods, total)
        note(Metric("B4 starts", f"{total} in {pods} pods", Unit.RATE), name, rate)
        note(Metric("B4 starts", "Create+Start, 100 at once"), name, *crowd.waits)
        rss, pss = footprint(subject)
        note(Metric("B5 memory", f"daemon, {total} containers", Unit.MEGABYTES), name, rss)
        each = (pss - some_pss) / (total - some)
        note(Metric("B5 memory", "each further container", Unit.MEGABYTES), name, each)
    await lists(sleeper.client, results, name, total)
    await usage(sleeper.client, results, name, total)
    await relist(subject, sleeper.client, results, "B5 idle", idle)
    await crash(subject, crowd, results)


async def crash(subject: Subject, crowd: Crowd, results: Results) -> None:
    """B10: SIGKILL, start, and the first list that has everything."""
    began = time.perf_counter()
    await asyncio.to_thread(subject.service.restart, crash=True)
    async with connected(subject.service.address) as client:
        found = len(await client.list())
        seconds = time.perf_counter() - began
        if found != crowd.containers:
            text = f"{subject.name} found {found} of {crowd.containers} containers after a crash"
            raise RuntimeError(text)
        results.add(Metric("B10 crash", "to a full list", Unit.SECONDS), subject.name, seconds)
        await crowd.leave(client)


async def node(
    subject: Subject, sleeper: Sleeper, results: Results, pods: int, seconds: float
) -> None:
    """B5: a node of idle pods, each with a container: memory, and what a relist costs."""
    numbers, made = iter(range(pods)), list[Running]()

    async def work() -> None:
        for number in numbers:
            pod = await sleeper.pod(f"idle-{number}")
            made.append(pod)
            await sleeper.client.run(pod, sleeper.container())

    async with asyncio.TaskGroup() as group:
        for _ in range(_MAKERS):
            group.create_task(work())
    rss, pss = footprint(subject)
    case = f"B5 {pods} pods"
    results.add(Metric(case, "daemon", Unit.MEGABYTES), subject.name, rss)
    results.add(Metric(case, "with all monitors, PSS", Unit.MEGABYTES), subject.name, pss)
    await relist(subject, sleeper.client, results, case, seconds)
    left = iter(made)

    async def clear() -> None:
        for pod in left:
            await end(sleeper.client, pod.id)

    async with asyncio.TaskGroup() as group:
        for _ in range(_MAKERS):
            group.create_task(clear())
