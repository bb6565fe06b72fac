"""Feeds: what is pushed is read, in order, once."""

import asyncio

from runtime.io.feed import Feed


async def test_what_was_pushed_is_read_at_once() -> None:
    feed = Feed()
    feed.push(b"a")
    feed.push(b"b")
    assert feed.size == 2
    assert await feed.read() == b"ab"
    assert feed.size == 0


async def test_a_reader_waits_for_what_comes() -> None:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(feed.read())
        await asyncio.sleep(0)
        feed.push(b"late")
    assert reading.result() == b"late"


async def test_the_end_comes_after_what_is_left() -> None:
    feed = Feed()
    feed.push(b"last")
    feed.end()
    feed.push(b"too late")
    assert not feed.open
    assert await feed.read() == b"last"
    assert await feed.read() == b""
    assert await feed.read() == b""


async def test_a_waiting_reader_hears_the_end() -> None:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(feed.read())
        await asyncio.sleep(0)
        feed.end()
    assert reading.result() == b""


async def test_whoever_pushes_is_told_what_left() -> None:
    taken: list[int] = []
    feed = Feed(taken.append)
    feed.push(b"abc")
    await feed.read()
    feed.push(b"de")
    feed.abandon()
    feed.push(b"f")
    assert taken == [3, 2, 1]
    assert await feed.read() == b""


async def test_a_cancelled_reader_loses_nothing() -> None:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(feed.read())
        await asyncio.sleep(0)
        feed.push(b"kept")
        reading.cancel()
    assert await feed.read() == b"kept"
