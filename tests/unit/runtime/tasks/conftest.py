"""A task service over fakes, and the node that they share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.tasks.service import TaskService
from tests.fakes.containers import FakeNode, FullRecords, fake_stage
from tests.stage import Stage


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def stage(tmp_path: Path, node: FakeNode) -> Stage:
    return fake_stage(tmp_path, node)


@pytest.fixture
def records() -> FullRecords:
    return FullRecords("task")


@pytest.fixture
async def tasks(stage: Stage, records: FullRecords) -> AsyncIterator[TaskService]:
    async with stage.service(records) as service:
        yield service
