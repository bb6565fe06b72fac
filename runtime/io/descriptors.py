"""File descriptors (pipes, terminals, sockets) as sources and sinks on the event loop.

Whatever error the kernel gives is the end: EIO is what closing a terminal looks like from the
other side, EPIPE, ECONNRESET and ETIMEDOUT are what a pipe or connection gives.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

CHUNK: Final = 1 << 18
"""At most so many bytes are read at once."""

# How long a pipe whose program has ended may stay empty before it counts as ended, too: a process
# in the background that holds it must not hold the client.
_DRAIN: Final = 0.1


class DescriptorSource:
    """Implements `Source` over the reading end of a descriptor, which it owns.

    Args:
        fd: made non-blocking.
        release: gives the descriptor back instead of closing it, if somebody shares it.
    """

    def __init__(self, fd: int, *, release: Callable[[], None] | None = None) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._finishing = False

    async def read(self) -> bytes:
        """See `Source.read`."""
        while self._fd >= 0:
            try:
                return os.read(self._fd, CHUNK)
            except BlockingIOError:
                if not await self._readable():
                    break
            except OSError:
                break
        return b""

    def finish(self) -> None:
        """Say that whoever wrote has ended: from now on empty means the end."""
        self._finishing = True
        if self._waiter is not None:
            self._expire(self._waiter)

    def abandon(self) -> None:
        """See `Source.abandon`."""
        if self._fd < 0:
            return
        self._settle(ready=False)
        fd, self._fd = self._fd, -1
        if self._release is None:
            os.close(fd)
        else:
            self._release()

    async def _readable(self) -> bool:
        """Wait until there is something to read; False if there will not be."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        self._loop.add_reader(self._fd, self._settle)
        if self._finishing:
            self._expire(waiter)
        try:
            return await waiter
        finally:
            self._settle(ready=False)

    def _expire(self, waiter: "asyncio.Future[bool]") -> None:
        self._loop.call_later(_DRAIN, _give_up, waiter)

    def _settle(self, *, ready: bool = True) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._loop.remove_reader(self._fd)
            if not waiter.done():
                waiter.set_result(ready)


def _give_up(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)


class DescriptorSink:
    """Implements `Sink` over the writing end of a descriptor, which it owns.

    Args:
        fd: made non-blocking.
        release: called at the end instead of closing the descriptor, if somebody shares it.
    """

    def __init__(self, fd: int, *, release: Callable[[], None] | None = None) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> bool:
        """See `Sink.write`."""
        view = memoryview(data)
        while view and self._fd >= 0:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError:
                return False
        return not view

    def close(self) -> None:
        """See `Sink.close`."""
        if self._fd < 0:
            return
        self._settle()
        fd, self._fd = self._fd, -1
        if self._release is None:
            os.close(fd)
        else:
            self._release()

    async def _writable(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, self._settle)
        try:
            await waiter
        finally:
            self._settle()

    def _settle(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._loop.remove_writer(self._fd)
            if not waiter.done():
                waiter.set_result(None)
