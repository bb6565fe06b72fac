from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.database import Database
from tests.contracts.pods import (
    ContainersContract,
    PodEventsContract,
    Pods,
    SandboxesContract,
)
from tests.fakes.pods import FakeSandboxes
from tests.podnode import IMAGE, Ground, daemon


class TestFakes(SandboxesContract, ContainersContract, PodEventsContract):
    @pytest.fixture
    def pods(self) -> Pods:
        sandboxes = FakeSandboxes()
        return Pods(sandboxes, sandboxes.containers, sandboxes.events, "sha256:1")


class TestServices(SandboxesContract, ContainersContract, PodEventsContract):
    @pytest.fixture
    async def pods(self, tmp_path: Path) -> AsyncIterator[Pods]:
        with Database(tmp_path / "state.db") as database:
            ground = Ground(tmp_path, database)
            ground.layout.pods.mkdir(parents=True)
            ground.layout.containers.mkdir()
            async with daemon(ground) as one:
                yield Pods(one.pods, one.containers, one.events, IMAGE)
