import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from runtime.stats import layers
from runtime.stats.layers import LayerMeter
from store.errors import DataLossError, NotFoundError
from store.snapshots import Usage

NAMESPACE = "k8s.io"


@dataclass
class Disk:
    """What is measured, how often, and whether a walk comes to an end."""

    sizes: dict[str, int] = field(default_factory=dict)
    walks: list[str] = field(default_factory=list)
    going: asyncio.Event = field(default_factory=asyncio.Event)
    walked: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.going.set()

    async def usage(self, namespace: str, key: str) -> Usage:
        assert namespace == NAMESPACE
        self.walks.append(key)
        await self.going.wait()
        self.walked.set()
        if key not in self.sizes:
            raise NotFoundError(f"cannot find snapshot {key}")
        if self.sizes[key] < 0:
            raise DataLossError("cannot read the disk")
        return Usage(bytes=self.sizes[key], inodes=1)


@asynccontextmanager
async def measuring(disk: Disk) -> AsyncIterator[LayerMeter]:
    meter = LayerMeter(disk.usage, lambda: disk.now)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(meter.run())
        yield meter
        task.cancel()


async def sizes(meter: LayerMeter, *keys: str) -> dict[str, int]:
    found = await meter.known(NAMESPACE, keys)
    return {key: usage.bytes for key, usage in found.items()}


async def test_the_first_figures_are_waited_for() -> None:
    disk = Disk({"a": 1, "b": 2})
    async with measuring(disk) as meter:
        assert await sizes(meter, "a", "b") == {"a": 1, "b": 2}
        assert disk.walks == ["a", "b"]


async def test_a_walk_that_takes_long_keeps_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "PATIENCE", 0.01)
    disk = Disk({"a": 1})
    disk.going.clear()
    async with measuring(disk) as meter:
        assert await sizes(meter, "a") == {}
        assert "1 never measured" in repr(meter)
        disk.going.set()
        assert await sizes(meter, "a") == {"a": 1}
        assert disk.walks == ["a"]


async def test_figures_are_renewed_for_who_asks_next() -> None:
    disk = Disk({"a": 1})
    async with measuring(disk) as meter:
        await sizes(meter, "a")
        disk.sizes["a"] = 7
        disk.walked.clear()
        assert await sizes(meter, "a") == {"a": 1}
        assert disk.walks == ["a"]
        disk.now += layers.FRESH + 1
        assert await sizes(meter, "a") == {"a": 1}
        await disk.walked.wait()
        await asyncio.sleep(0)
        assert await sizes(meter, "a") == {"a": 7}
        assert disk.walks == ["a", "a"]


async def test_what_is_gone_has_no_figure() -> None:
    disk = Disk({"a": 1})
    async with measuring(disk) as meter:
        assert await sizes(meter, "gone") == {}
        await sizes(meter, "a")
        del disk.sizes["a"]
        disk.now += layers.FRESH + 1
        disk.walked.clear()
        await sizes(meter, "a")
        await disk.walked.wait()
        await asyncio.sleep(0)
        assert await sizes(meter, "a") == {}


async def test_an_error_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk({"a": -1, "b": 2})
    async with measuring(disk) as meter:
        assert await sizes(meter, "a", "b") == {"b": 2}
    assert "cannot measure what a takes: cannot read the disk" in caplog.text


async def test_what_nobody_asks_for_is_forgotten() -> None:
    disk = Disk({"a": 1, "b": 2})
    async with measuring(disk) as meter:
        await sizes(meter, "a")
        disk.now += layers.KEEP + 1
        await sizes(meter, "b")
        assert repr(meter) == "LayerMeter(1 figures, 0 never measured)"
