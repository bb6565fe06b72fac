"""Pipes, terminals and sockets as sources and sinks."""

import asyncio
import os
import pty
import socket
from collections.abc import Iterator

import pytest

from runtime.io.descriptors import CHUNK, DescriptorSink, DescriptorSource
from tests.leaks import nothing_kept


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # its owner has closed it


async def test_bytes_come_in_the_order_they_were_written(pipe: tuple[int, int]) -> None:
    source, sink = DescriptorSource(pipe[0]), DescriptorSink(pipe[1])
    assert await sink.write(b"one ")
    assert await sink.write(b"two")
    assert await source.read() == b"one two"
    sink.close()
    assert await source.read() == b""


async def test_more_than_a_pipe_holds_waits_for_its_reader(pipe: tuple[int, int]) -> None:
    source, sink = DescriptorSource(pipe[0]), DescriptorSink(pipe[1])
    sent = os.urandom(3 * CHUNK)
    received = bytearray()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(sink.write(sent))
        await asyncio.sleep(0)
        assert not writing.done()
        while len(received) < len(sent):
            received += await source.read()
    assert writing.result()
    assert bytes(received) == sent


async def test_a_sink_nobody_reads_says_so(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    assert not await DescriptorSink(pipe[1]).write(b"x")


async def test_a_waiting_writer_hears_that_its_reader_is_gone(pipe: tuple[int, int]) -> None:
    sink = DescriptorSink(pipe[1])
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(sink.write(bytes(2 * CHUNK)))
        await asyncio.sleep(0)
        os.close(pipe[0])
    assert not writing.result()


async def test_closing_wakes_whoever_waits(pipe: tuple[int, int]) -> None:
    source, sink = DescriptorSource(pipe[0]), DescriptorSink(pipe[1])
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(source.read())
        await asyncio.sleep(0)
        source.abandon()
    assert reading.result() == b""
    assert await source.read() == b""
    sink.close()
    sink.close()
    source.abandon()


async def test_after_the_end_of_the_program_empty_is_the_end(pipe: tuple[int, int]) -> None:
    source = DescriptorSource(pipe[0])  # the writing end stays open, as with a background process
    os.write(pipe[1], b"last words")
    source.finish()
    assert await source.read() == b"last words"
    async with asyncio.timeout(2):
        assert await source.read() == b""


async def test_a_reader_that_waits_already_hears_of_the_end_of_the_program(
    pipe: tuple[int, int],
) -> None:
    source = DescriptorSource(pipe[0])
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        reading = group.create_task(source.read())
        await asyncio.sleep(0)
        source.finish()
    assert reading.result() == b""


async def test_a_cancelled_reader_leaves_the_bytes(pipe: tuple[int, int]) -> None:
    source = DescriptorSource(pipe[0])
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(source.read())
        await asyncio.sleep(0)
        reading.cancel()
    os.write(pipe[1], b"kept")
    assert await source.read() == b"kept"


async def test_the_end_of_a_terminal_is_no_error() -> None:
    master, slave = pty.openpty()
    source = DescriptorSource(master)
    os.write(slave, b"bye")
    os.close(slave)
    assert await source.read() == b"bye"
    assert await source.read() == b""
    source.abandon()


async def test_both_directions_of_a_socket_share_its_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        source = DescriptorSource(ours.fileno(), release=lambda: None)
        sink = DescriptorSink(ours.fileno(), release=lambda: ours.shutdown(socket.SHUT_WR))
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(source.read())
            writing = group.create_task(sink.write(bytes(4 * CHUNK)))
            await asyncio.sleep(0)
            theirs.setblocking(False)  # noqa: FBT003 - its only parameter
            theirs.send(b"answer")
            loop = asyncio.get_running_loop()
            received = 0
            while received < 4 * CHUNK:
                received += len(await loop.sock_recv(theirs, CHUNK))
        assert reading.result() == b"answer"
        assert writing.result()
        sink.close()
        assert theirs.recv(1) == b""
        source.abandon()


async def test_nothing_is_left_open() -> None:
    async with nothing_kept():
        for _ in range(50):
            reader, writer = os.pipe()
            source, sink = DescriptorSource(reader), DescriptorSink(writer)
            await sink.write(b"x")
            await source.read()
            sink.close()
            source.abandon()
