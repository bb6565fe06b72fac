"""The contract of statistics, on fakes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.stats import Statistics
from store.database import Database
from tests.contracts.pods import NAMESPACE, Pods
from tests.contracts.stats import Bench, StatisticsContract
from tests.fakes.pods import FakeSandboxes
from tests.fakes.stats import FakeStatistics
from tests.podnode import IMAGE, Daemon, Ground, daemon


@dataclass(frozen=True)
class _FakeBench:
    statistics: Statistics
    pods: Pods

    def occupy(self, pod: str, container: str) -> None:
        """The fake has what it needs."""


class TestFake(StatisticsContract):
    @pytest.fixture
    def bench(self) -> Bench:
        sandboxes = FakeSandboxes()
        pods = Pods(sandboxes, sandboxes.containers, sandboxes.events, "sha256:1")
        return _FakeBench(FakeStatistics(sandboxes), pods)


@dataclass(frozen=True)
class _ServiceBench:
    ground: Ground
    daemon: Daemon

    @property
    def statistics(self) -> Statistics:
        return self.daemon.statistics

    @property
    def pods(self) -> Pods:
        return Pods(self.daemon.pods, self.daemon.containers, self.daemon.events, IMAGE)

    def occupy(self, pod: str, container: str) -> None:
        members = self.ground.cgroups.members
        members[self.statistics.cgroup(self.daemon.pods.get(NAMESPACE, pod))] = []
        members[self.daemon.tasks.get(NAMESPACE, container).cgroup] = [1]


class TestService(StatisticsContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        with Database(tmp_path / "state.db") as database:
            ground = Ground(tmp_path, database)
            ground.layout.pods.mkdir(parents=True)
            ground.layout.containers.mkdir()
            async with daemon(ground) as one:
                yield _ServiceBench(ground, one)
