"""The attach socket of a monitor, without the monitor: what conmon does, in as few lines.

Like conmon it accepts any number of connections, copies output to each in messages of one stream
byte and at most 8 KiB, takes input from all, and closes the container's input when a connection
that may give input ends, unless it was told to leave it open.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.io.feed import Feed

STDOUT, STDERR = 2, 3
_MESSAGE = 8192
_INPUT = 32768


class MonitorSocket:
    """One container's monitor, as far as clients see it."""

    def __init__(self, bundle: Path, *, once: bool = False) -> None:
        self.input = Feed()
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self.joined = asyncio.Event()
        self._once = once
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)  # noqa: FBT003 - its only parameter
        directory = os.open(bundle, os.O_PATH)
        try:
            self._listener.bind(f"/proc/self/fd/{directory}/attach")
        finally:
            os.close(directory)
        self._listener.listen(10)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._accept)

    async def write(self, data: bytes, stream: int = STDOUT) -> None:
        """Copy output to everyone; wait for those who do not read, as conmon does."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(data), _MESSAGE):
            message = bytes([stream]) + data[start : start + _MESSAGE]
            for connection in tuple(self.connections):
                try:
                    await loop.sock_sendall(connection, message)
                except OSError:
                    self._drop(connection)

    def end(self) -> None:
        """The container has ended."""
        loop = asyncio.get_running_loop()
        if self._listener.fileno() >= 0:
            loop.remove_reader(self._listener)
            self._listener.close()
        for connection in tuple(self.connections):
            self._drop(connection)
        self.input.end()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)  # noqa: FBT003 - its only parameter
        self.connections.append(connection)
        self.accepted += 1
        self.joined.set()
        asyncio.get_running_loop().add_reader(connection, self._readable, connection)

    def _readable(self, connection: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                data = connection.recv(_INPUT)
            except OSError:
                data = b""
            if data:
                self.input.push(data)
                return
            asyncio.get_running_loop().remove_reader(connection)
            if self._once:
                self.input.end()

    def _drop(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        self.connections.remove(connection)
        connection.close()


@asynccontextmanager
async def monitor_socket(bundle: Path, *, once: bool = False) -> AsyncIterator[MonitorSocket]:
    """Listen in a bundle for the block."""
    monitor = MonitorSocket(bundle, once=once)
    try:
        yield monitor
    finally:
        monitor.end()
