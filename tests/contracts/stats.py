"""What every `Statistics` must do."""

from typing import Protocol

import pytest

from runtime.pods import Filter
from runtime.stats import SandboxDetails, Statistics
from tests.contracts.pods import NAMESPACE, Pods


class Bench(Protocol):
    """The thing under test, pods to look at, and a way to give them something to do."""

    @property
    def statistics(self) -> Statistics: ...

    @property
    def pods(self) -> Pods: ...

    def occupy(self, pod: str, container: str) -> None:
        """Put a process into a container's cgroup, where the kernel does not."""


async def details(statistics: Statistics, filter_: Filter) -> list[SandboxDetails]:
    return [one async for one in statistics.details(NAMESPACE, filter_)]


class StatisticsContract:
    """A subclass supplies the fixture `bench`."""

    @pytest.fixture
    async def pod(self, bench: Bench) -> str:
        return await bench.pods.pod("one", app="web")

    @pytest.fixture
    async def running(self, bench: Bench, pod: str) -> str:
        id_ = await bench.pods.running(pod)
        bench.occupy(pod, id_)
        return id_

    async def test_a_running_container_has_a_reading(self, bench: Bench, running: str) -> None:
        (stats,) = await bench.statistics.containers(NAMESPACE, Filter(id=running))
        assert stats.status.id == running
        assert stats.sample is not None
        counters = stats.sample.counters
        assert counters.timestamp > 0
        assert counters.cpu_usage is not None
        assert counters.memory_usage is not None

    async def test_what_it_wrote_is_known_at_once(self, bench: Bench, running: str) -> None:
        (stats,) = await bench.statistics.containers(NAMESPACE, Filter(id=running))
        assert stats.layer is not None
        assert stats.layer.inodes > 0
        assert stats.layer.timestamp > 0

    async def test_an_ended_container_takes_only_space(self, bench: Bench, running: str) -> None:
        await bench.pods.containers.stop(NAMESPACE, running, 0)
        (stats,) = await bench.statistics.containers(NAMESPACE, Filter(id=running))
        assert stats.sample is None
        assert stats.layer is not None

    async def test_containers_are_those_that_match(
        self, bench: Bench, pod: str, running: str
    ) -> None:
        other = await bench.pods.container(await bench.pods.pod("two"), "c", app="web")

        async def listed(filter_: Filter) -> list[str]:
            found = await bench.statistics.containers(NAMESPACE, filter_)
            return [one.status.id for one in found]

        assert await listed(Filter()) == [running, other]
        assert await listed(Filter(sandbox_id=pod)) == [running]
        assert await listed(Filter(labels={"app": "web"})) == [other]
        assert await listed(Filter(id="none")) == []

    async def test_a_pod_shows_its_containers(self, bench: Bench, pod: str, running: str) -> None:
        (stats,) = await bench.statistics.sandboxes(NAMESPACE, Filter(id=pod))
        assert stats.sandbox.id == pod
        assert [one.status.id for one in stats.containers] == [running]
        assert stats.sample is not None
        assert stats.processes is not None
        assert stats.processes >= 1

    async def test_an_empty_pod_uses_nothing_yet(self, bench: Bench, pod: str) -> None:
        (stats,) = await bench.statistics.sandboxes(NAMESPACE, Filter(id=pod))
        assert (stats.containers, stats.processes) == ((), None)

    async def test_pods_are_those_that_match(self, bench: Bench, pod: str) -> None:
        other = await bench.pods.pod("two")
        await bench.pods.sandboxes.stop(NAMESPACE, other)

        async def listed(filter_: Filter) -> list[str]:
            found = await bench.statistics.sandboxes(NAMESPACE, filter_)
            return [one.sandbox.id for one in found]

        assert await listed(Filter()) == [pod, other]
        assert await listed(Filter(labels={"app": "web"})) == [pod]
        assert await listed(Filter(state="ready")) == [pod]

    async def test_details_are_of_all_that_match(
        self, bench: Bench, pod: str, running: str
    ) -> None:
        await bench.pods.pod("two")
        (found,) = await details(bench.statistics, Filter(id=pod))
        assert found.stats.sandbox.id == pod
        (container,) = found.containers
        assert container.stats.status.id == running
        assert container.cgroup.endswith(running)
        assert container.cgroup.startswith(bench.statistics.cgroup(found.stats.sandbox))
        assert container.processes is not None
        assert container.processes >= 1
        assert len(await details(bench.statistics, Filter())) == 2

    async def test_many_pods_are_told_once_each(self, bench: Bench) -> None:
        made = [await bench.pods.pod(f"pod-{number}") for number in range(40)]
        found = await details(bench.statistics, Filter())
        assert [one.stats.sandbox.id for one in found] == made

    async def test_where_containers_write(self, bench: Bench) -> None:
        found = await bench.statistics.filesystem()
        assert found.mountpoint == bench.statistics.mountpoint
        assert found.device
        assert found.size > 0

    def test_a_device_without_a_name_goes_by_its_number(self, bench: Bench) -> None:
        assert bench.statistics.device(4000, 1) == "4000:1"
