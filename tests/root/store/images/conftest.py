"""Unpacking for real: a worker per test, and nobody left after it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from store.images.layers import Limits
from store.images.unpack import WorkerUnpacker
from tests.unpacking import Bench, nothing_left


@pytest.fixture
def clean() -> Iterator[None]:
    """Fail if a test leaves a process or a descriptor."""
    with nothing_left():
        yield


@pytest.fixture
def make_bench(
    clean: None,  # noqa: ARG001 - checked after everything else is closed
    tmp_path: Path,
) -> Callable[[Limits], Bench]:
    """Return how to make a bench with limits of its own; its unpacker is to be entered."""
    return lambda limits: Bench(WorkerUnpacker(limits=limits), tmp_path)


@pytest.fixture
async def bench(make_bench: Callable[[Limits], Bench]) -> AsyncIterator[Bench]:
    """Return an unpacker with ordinary limits."""
    found = make_bench(Limits())
    async with found.unpacker:
        yield found
