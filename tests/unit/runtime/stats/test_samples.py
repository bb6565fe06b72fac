import asyncio
from dataclasses import dataclass

import pytest

from runtime.cgroups import Counters
from runtime.stats import samples
from runtime.stats.samples import Sampler
from tests.fakes.cgroups import MemoryCgroups

SECOND = 1_000_000_000


@dataclass
class Bench:
    """A sampler over one cgroup `/a`, and a clock that only tests move."""

    cgroups: MemoryCgroups
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.sampler = Sampler(self.cgroups, lambda: self.now)
        self.cgroups.members["/a"] = [1]
        self.use(0)

    def use(self, cpu: int | None) -> None:
        self.cgroups.counters["/a"] = Counters(timestamp=1, cpu_usage=cpu, memory_usage=5)

    async def rate(self, *, detailed: bool = False) -> int | None:
        found = await self.sampler.samples(["/a"], detailed=detailed)
        return found["/a"].nano_cores


@pytest.fixture
def bench() -> Bench:
    return Bench(MemoryCgroups())


async def test_the_rate_is_of_the_time_between_two_readings(bench: Bench) -> None:
    assert await bench.rate() is None
    bench.use(3 * SECOND)
    bench.now += 2
    assert await bench.rate() == 1_500_000_000


async def test_a_reading_is_shared_for_a_moment(bench: Bench) -> None:
    first = await bench.sampler.samples(["/a"])
    bench.use(SECOND)
    bench.now += samples.FRESH / 2
    assert await bench.sampler.samples(["/a"]) == first
    bench.now += samples.FRESH
    assert (await bench.sampler.samples(["/a"]))["/a"].counters.cpu_usage == SECOND
    assert bench.cgroups.readings == [("/a", False), ("/a", False)]


async def test_those_who_ask_together_share_one_reading(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(bench.sampler.samples(["/a"])) for _ in range(8)]
    assert len({id(one.result()["/a"]) for one in asked}) == 1
    assert bench.cgroups.readings == [("/a", False)]


async def test_a_plain_reading_is_not_enough_for_details(bench: Bench) -> None:
    await bench.rate()
    await bench.rate(detailed=True)
    await bench.rate()
    assert bench.cgroups.readings == [("/a", False), ("/a", True)]


async def test_readings_close_together_keep_the_rate_of_a_longer_time(bench: Bench) -> None:
    await bench.rate()
    bench.use(SECOND)
    bench.now += 2
    assert await bench.rate() == 500_000_000
    bench.use(SECOND + 1)
    bench.now += 0.1
    assert await bench.rate(detailed=True) == 500_000_000
    bench.use(2 * SECOND)
    bench.now += 0.9
    assert await bench.rate() == SECOND


async def test_a_cgroup_made_anew_starts_anew(bench: Bench) -> None:
    bench.use(9 * SECOND)
    await bench.rate()
    bench.use(SECOND)
    bench.now += 2
    assert await bench.rate() is None
    bench.use(2 * SECOND)
    bench.now += 2
    assert await bench.rate() == 500_000_000


async def test_a_rate_needs_cpu_times(bench: Bench) -> None:
    bench.use(None)
    await bench.rate()
    bench.now += 2
    assert await bench.rate() is None


async def test_what_is_gone_is_missing_and_forgotten(bench: Bench) -> None:
    await bench.rate()
    del bench.cgroups.members["/a"]
    bench.now += 2
    assert await bench.sampler.samples(["/a", "/never"]) == {}
    bench.cgroups.members["/a"] = []
    bench.now += 2
    assert await bench.rate() is None


async def test_what_nobody_asks_for_is_forgotten(bench: Bench) -> None:
    await bench.rate()
    bench.cgroups.members["/b"] = []
    bench.now += samples.KEEP + 1
    await bench.sampler.samples(["/b"])
    assert list(bench.sampler._kept) == ["/b"]
