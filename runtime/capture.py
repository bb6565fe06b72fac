"""Reading what a program writes, up to a limit, on the event loop."""

import asyncio
import contextlib
import os
from typing import Final, Self

from store.errors import ResourceExhaustedError

_CHUNK: Final = 1 << 16
# How long output may still come after the program itself has ended: a background process that
# keeps the pipe open must not keep the caller.
_DRAIN: Final = 0.1


class Capture:
    """The reading end of a pipe: keeps the first `limit` bytes and discards the rest.

    `writer` goes to the child; close it with `started` once the child has it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._loop = asyncio.get_running_loop()
        self._eof: asyncio.Future[None] = self._loop.create_future()
        self._line: asyncio.Future[None] = self._loop.create_future()
        try:
            self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            raise ResourceExhaustedError(f"cannot make a pipe: {error.strerror}") from error
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._readable)

    @property
    def data(self) -> bytes:
        """What was kept so far."""
        return bytes(self._kept)

    @property
    def inode(self) -> int:
        """The pipe's inode, by which /proc/PID/fd shows who holds the other end."""
        return os.fstat(self._reader).st_ino

    def started(self) -> None:
        """Close the writing end on our side, so that the end of the data can be seen."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def line(self) -> bytes:
        """Return the first line once it is there, or whatever came before the end."""
        await asyncio.shield(self._line)
        return self.data.partition(b"\n")[0]

    async def drain(self, grace: float = _DRAIN) -> None:
        """Wait until every writer has closed, at most `grace` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.shield(self._eof)

    def close(self) -> None:
        """Let go of both ends."""
        self.started()
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
        self._eof.cancel()
        self._line.cancel()

    def _readable(self) -> None:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return
        self._kept += data[: self._limit - len(self._kept)]
        if not self._line.done() and (not data or b"\n" in data):
            self._line.set_result(None)
        if data:
            return
        self._loop.remove_reader(self._reader)
        self._eof.set_result(None)


class Streams:
    """Both output streams of a program, for the block."""

    def __init__(self, limit: int) -> None:
        self.stdout = Capture(limit)
        try:
            self.stderr = Capture(limit)
        except ResourceExhaustedError:
            self.stdout.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()

    @property
    def fds(self) -> dict[int, int]:
        """The descriptors for `spawn`."""
        return {1: self.stdout.writer, 2: self.stderr.writer}

    @property
    def inodes(self) -> tuple[int, int]:
        """The pipes' inodes; see `Capture.inode`."""
        return self.stdout.inode, self.stderr.inode

    def started(self) -> None:
        """Say that the child has its ends."""
        self.stdout.started()
        self.stderr.started()

    async def drain(self) -> None:
        """Wait a little for what is still on its way."""
        await self.stdout.drain()
        await self.stderr.drain()
