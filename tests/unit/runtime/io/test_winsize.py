"""Sizes for a monitor: one line at a time, the last one counts."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.io import Size
from runtime.io.winsize import WindowSize
from tests.leaks import nothing_kept


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[int]:
    os.mkfifo(tmp_path / "winsz")
    fd = os.open(tmp_path / "winsz", os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


async def line(reader: int) -> bytes:
    async with asyncio.timeout(5):
        while True:
            try:
                if data := os.read(reader, 199):
                    return data
            except BlockingIOError:
                pass
            await asyncio.sleep(0.001)


async def test_a_size_is_height_and_width(reader: int, tmp_path: Path) -> None:
    size = WindowSize(tmp_path)
    size.set(Size(width=80, height=24))
    assert await line(reader) == b"24 80\n"
    size.close()


async def test_of_many_sizes_the_first_and_the_last_arrive(reader: int, tmp_path: Path) -> None:
    size = WindowSize(tmp_path)
    for width in range(1, 900):
        size.set(Size(width=width, height=24))
    assert await line(reader) == b"24 1\n"
    assert await line(reader) == b"24 899\n"
    size.close()


async def test_sizes_stay_within_what_the_monitor_takes(reader: int, tmp_path: Path) -> None:
    size = WindowSize(tmp_path)
    size.set(Size(width=65535, height=0))
    assert await line(reader) == b"1 1000\n"
    size.close()


async def test_without_a_monitor_nothing_happens(tmp_path: Path) -> None:
    async with nothing_kept():
        size = WindowSize(tmp_path)
        size.set(Size(width=80, height=24))
        os.mkfifo(tmp_path / "winsz")
        size.set(Size(width=80, height=24))
        size.close()
        size.close()
