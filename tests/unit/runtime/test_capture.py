import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from runtime.capture import Capture, Streams
from store.errors import ResourceExhaustedError


async def test_what_exceeds_the_limit_is_read_and_dropped() -> None:
    capture = Capture(10)
    os.write(capture.writer, b"0123456789abcdef")
    capture.started()
    await capture.drain(5)
    assert capture.data == b"0123456789"
    capture.close()


async def test_the_first_line_is_there_before_the_end() -> None:
    capture = Capture(100)
    os.write(capture.writer, b"one")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await capture.line()
    os.write(capture.writer, b" line\nand more")
    assert await capture.line() == b"one line"
    capture.close()


async def test_without_a_line_the_end_will_do() -> None:
    capture = Capture(100)
    os.write(capture.writer, b"unfinished")
    capture.started()
    assert await capture.line() == b"unfinished"
    capture.close()


async def test_drain_gives_up_when_somebody_keeps_the_pipe() -> None:
    capture = Capture(100)
    await capture.drain(0.01)
    assert capture.data == b""
    capture.close()
    capture.close()


async def test_the_inode_is_the_pipes() -> None:
    capture = Capture(1)
    assert os.readlink(f"/proc/self/fd/{capture.writer}") == f"pipe:[{capture.inode}]"  # noqa: PTH115
    capture.close()


async def test_no_descriptor_is_left_when_there_are_no_more() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, limits[1]))
    taken = list(_take_all())
    try:
        for _ in range(3):  # one pipe fits, the second does not
            os.close(taken.pop())
        for _ in range(3):
            with pytest.raises(ResourceExhaustedError, match="Too many open files"):
                Streams(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken:
            os.close(fd)


def _take_all() -> Iterator[int]:
    with contextlib.suppress(OSError):
        while True:
            yield os.open(os.devnull, os.O_RDONLY)
