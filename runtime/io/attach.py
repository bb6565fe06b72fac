"""Clients of containers' own streams."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from runtime.io import Session, Sink, Size, Source, Wanted
from runtime.io.hub import STDERR, STDOUT, Client, Hub
from runtime.io.winsize import WindowSize
from runtime.locks import Locks
from runtime.operations import stage
from runtime.tasks import Task
from store.errors import UnavailableError

# How long a monitor may take to accept a connection, and how often it is asked.
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.02


class Attachments:
    """Attaches clients to containers that run under conmon."""

    def __init__(self) -> None:
        self._hubs: dict[Path, Hub] = {}
        self._locks = Locks()

    @asynccontextmanager
    async def attach(self, task: Task, wanted: Wanted) -> AsyncIterator[Session]:
        """Join a container's streams for the block; see `Sessions.attach`.

        Raises:
            UnavailableError: its monitor does not answer.
        """
        stage("attach", task.id)
        hub = await self._hub(task)
        client = hub.join(wanted)
        size = WindowSize(task.bundle)
        try:
            yield _Attached(hub, client, size, stdin=wanted.stdin and task.stdin)
        finally:
            if wanted.stdin:
                hub.end_input()
            hub.leave(client)
            size.close()

    def close(self) -> None:
        """Let go of every monitor."""
        for hub in tuple(self._hubs.values()):
            hub.close()

    async def _hub(self, task: Task) -> Hub:
        async with self._locks.hold(task.bundle):
            hub = self._hubs.get(task.bundle)
            if hub is None:
                connection = await _connect(task)
                once = task.stdin and task.stdin_once
                hub = Hub(connection, once=once, closed=lambda: self._forget(task.bundle))
                self._hubs[task.bundle] = hub
            return hub

    def _forget(self, bundle: Path) -> None:
        self._hubs.pop(bundle, None)


class _Attached:
    """Implements `Session`."""

    def __init__(self, hub: Hub, client: Client, size: WindowSize, *, stdin: bool) -> None:
        self._client = client
        self._size = size
        self._stdin = _Input(hub) if stdin else None

    @property
    def stdin(self) -> Sink | None:
        return self._stdin

    @property
    def stdout(self) -> Source | None:
        return self._client.feeds.get(STDOUT)

    @property
    def stderr(self) -> Source | None:
        return self._client.feeds.get(STDERR)

    def resize(self, size: Size) -> None:
        self._size.set(size)

    async def wait(self) -> int:
        return await asyncio.shield(self._client.end)


class _Input:
    """Implements `Sink`: one client's share of a container's input."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def write(self, data: bytes) -> bool:
        return await self._hub.write(data)

    def close(self) -> None:
        self._hub.end_input()


async def _connect(task: Task) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        with _directory(task.bundle) as path:
            async with asyncio.timeout(_PATIENCE):
                await _until_accepted(connection, f"{path}/attach")
    except (OSError, TimeoutError) as error:
        connection.close()
        raise UnavailableError(
            f"cannot attach to container {task.id}: its monitor does not answer: {error!r}"
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


async def _until_accepted(connection: socket.socket, path: str) -> None:
    """Connect; a unix socket whose queue is full says so at once instead of waiting."""
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            await asyncio.sleep(_PAUSE)
        else:
            return


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[str]:
    """Give a short path of a directory: a socket's path has at most 107 bytes (unix(7))."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
