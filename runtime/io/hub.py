"""One container's output for any number of clients, and their input for the container.

A monitor copies output to each connection of its attach socket with blocking writes, so a
connection nobody reads would stop the container. It also keeps the descriptor of a connection that
has closed until it next has something to write there. So there is one connection for each
container, always read, kept while the container is silent, and shared by all clients.

A client that is too slow is waited for a moment, once, and then left behind: it may catch up, and
if it falls behind by too much it is told so and cut off.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from runtime.io import Wanted
from runtime.io.feed import Feed
from store.errors import ResourceExhaustedError

STDOUT: Final = 2
STDERR: Final = 3
"""The first byte of each message from conmon: the stream."""

# Messages to conmon above its buffer (CONN_SOCK_BUF_SIZE) would be cut off; it sends 8 KiB and 1.
_MESSAGE: Final = 32768
_BATCH: Final = 64

# A client with more than `_HIGH` bytes unread makes the container wait, for at most `_PATIENCE`
# seconds; then it is left behind until it has read all but `_LOW`. At `_LIMIT` it is cut off.
_LOW: Final = 1 << 16
_HIGH: Final = 1 << 19
_LIMIT: Final = 1 << 23
_PATIENCE: Final = 0.1


@dataclass(slots=True, eq=False)
class Client:
    """What one client reads: `feeds` by stream, and `end`, when there is no more for it."""

    feeds: dict[int, Feed]
    end: asyncio.Future[int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    behind: bool = False

    @property
    def unread(self) -> int:
        """How many bytes wait for it."""
        return sum(feed.size for feed in self.feeds.values())

    @property
    def slow(self) -> bool:
        """Whether the container should wait for it."""
        return not self.behind and self.unread > _HIGH

    def finish(self, error: Exception | None = None) -> None:
        """Let it read what there is, then end; with an error at once."""
        if self.end.done():
            return
        if error is None:
            self.end.set_result(0)
        else:
            self.end.set_exception(error)
            self.end.exception()  # it may have gone without looking
        for feed in self.feeds.values():
            if error is not None:
                feed.abandon()
            feed.end()


class Hub:
    """The clients of one connection to a monitor.

    Args:
        connection: to the monitor's attach socket, non-blocking; the hub's from now on.
        once: whether the container's input ends with the connection (`stdin_once`).
        closed: called when the hub has closed.
    """

    def __init__(
        self, connection: socket.socket, *, once: bool, closed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._once = once
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._clients: set[Client] = set()
        self._input_open = True
        self._turns = asyncio.Lock()
        self._writable: asyncio.Future[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(connection, self._readable)

    @property
    def open(self) -> bool:
        """Whether the monitor is still there."""
        return self._connection.fileno() >= 0

    def join(self, wanted: Wanted) -> Client:
        """Return a client that gets what comes from now on, until it leaves."""
        asked = {STDOUT: wanted.stdout, STDERR: wanted.stderr}
        client = Client({})
        for stream, is_wanted in asked.items():
            if is_wanted:
                client.feeds[stream] = Feed(partial(self._taken, client))
        self._clients.add(client)
        if not self.open:
            client.finish()
        return client

    def leave(self, client: Client) -> None:
        """Forget a client; idempotent."""
        self._clients.discard(client)
        for feed in client.feeds.values():
            feed.abandon()
        self._consider()

    async def write(self, data: bytes) -> bool:
        """Send input, whole messages in their order; False if the container takes no more."""
        async with self._turns:
            view = memoryview(data)
            while view and self.open and self._input_open:
                try:
                    view = view[self._connection.send(view[:_MESSAGE]) :]
                except BlockingIOError:
                    await self._until_writable()
                except OSError:
                    return False
            return not view

    def end_input(self) -> None:
        """Close the container's input, if it was made to end with its first client."""
        if self._once and self._input_open and self.open:
            self._input_open = False
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
        self._wake_writer()

    def close(self) -> None:
        """Let go of the monitor, and let every client read to its end; idempotent."""
        if not self.open:
            return
        self._unpause()
        self._loop.remove_reader(self._connection)
        self._wake_writer()
        self._connection.close()
        for client in self._clients:
            client.finish()
        self._closed()

    def _readable(self) -> None:
        streams: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
        ended = False
        try:
            for _ in range(_BATCH):
                message = self._connection.recv(_MESSAGE)
                if not message:
                    ended = True
                    break
                streams.setdefault(message[0], []).append(message[1:])
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        for stream, parts in streams.items():
            if parts:
                self._deliver(stream, b"".join(parts))
        if ended:
            self.close()

    def _deliver(self, stream: int, data: bytes) -> None:
        if not self._clients and not (self._once and self._input_open):
            # The monitor notices at its next write; had we closed while it was silent, it would
            # have kept its end. But where input ends with the connection, it stays.
            self.close()
            return
        for client in self._clients:
            if stream in client.feeds:
                client.feeds[stream].push(data)
                if client.unread > _LIMIT:
                    client.finish(_too_slow(client))
        self._consider()

    def _taken(self, client: Client, _count: int) -> None:
        if client.unread <= _LOW:
            client.behind = False
        self._consider()

    def _consider(self) -> None:
        """Make the container wait for who is slow, or go on."""
        if not any(client.slow for client in self._clients):
            self._unpause()
        elif self._pause is None and self.open:
            self._loop.remove_reader(self._connection)
            self._pause = self._loop.call_later(_PATIENCE, self._go_on)

    def _go_on(self) -> None:
        _leave_behind(self._clients)
        self._unpause()

    def _unpause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self._loop.add_reader(self._connection, self._readable)

    async def _until_writable(self) -> None:
        writable: asyncio.Future[None] = self._loop.create_future()
        self._writable = writable
        self._loop.add_writer(self._connection, self._wake_writer)
        try:
            await writable
        finally:
            self._wake_writer()

    def _wake_writer(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            self._loop.remove_writer(self._connection)
            if not writable.done():
                writable.set_result(None)


def _leave_behind(clients: Iterable[Client]) -> None:
    for client in clients:
        if client.slow:
            client.behind = True


def _too_slow(client: Client) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"cannot go on with attach: the client is {client.unread} bytes behind the container"
    )
