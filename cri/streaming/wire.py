"""One TCP (or TLS) connection, with back pressure in both directions."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from cri.streaming.hangups import Hangups

_UNREAD: Final = 1 << 18
_UNSENT: Final = 1 << 18
# Answers to pings are not held back; who does not read them for so long is not worth answering.
_OVERFLOW: Final = 1 << 23

_log = logging.getLogger(__name__)


class Wire(asyncio.Protocol):
    """Implements `Link`.

    Args:
        hangups: notices peers that vanish while nothing is read from them.
    """

    def __init__(self, hangups: Hangups) -> None:
        self._hangups = hangups
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._inbox: list[bytes] = []
        self._unread = 0
        self._reader: asyncio.Future[None] | None = None
        self._paused = False
        self._ended = False
        self._full = False
        self._writers: deque[asyncio.Future[None]] = deque()
        self._callbacks: list[Callable[[], None]] = []
        self._idle: asyncio.TimerHandle | None = None
        self._active = self._loop.time()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_UNSENT)
        self._fd = self._transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._active = self._loop.time()
        self._inbox.append(data)
        self._unread += len(data)
        if self._unread > _UNREAD:
            self._pause()
        self._wake_reader()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`; a plain connection may still be written to."""
        self._end()
        return self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._full = True

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._full = False
        self._wake_writer()

    def connection_lost(self, _exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._hangups.forget(self._fd)
        self._transport = None
        if self._idle is not None:
            self._idle.cancel()
        while self._writers:
            self._wake_writer()
        self._end()

    # What sessions call.

    @property
    def lost(self) -> bool:
        """Whether the peer is gone."""
        return self._transport is None

    @property
    def unsent(self) -> int:
        """See `Link.unsent`."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def receive(self) -> bytes:
        """See `Link.receive`."""
        while not self._inbox and not self._ended:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._inbox[0] if len(self._inbox) == 1 else b"".join(self._inbox)
        self._inbox.clear()
        self._unread = 0
        self._resume()
        return data

    def give_back(self, data: bytes) -> None:
        """Let `receive` return these bytes first."""
        if data:
            self._inbox.insert(0, data)
            self._unread += len(data)

    async def room(self) -> bool:
        """See `Link.room`. Writers go one after another, so that all of them together fit."""
        while self._full and not self.lost:
            turn: asyncio.Future[None] = self._loop.create_future()
            self._writers.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._wake_writer()
                raise
        return not self.lost

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        if self._transport is None or self._transport.is_closing():
            return
        if data:
            self._active = self._loop.time()
            self._transport.write(data)
            if self.unsent > _OVERFLOW:
                _log.debug("streaming: a client does not read what it asks for")
                self.abort()
        self._wake_writer()

    def finish(self) -> None:
        """See `Link.finish`; TLS knows no half-close."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def when_lost(self, callback: Callable[[], None]) -> None:
        """See `Link.when_lost`."""
        if self._ended:
            callback()
        else:
            self._callbacks.append(callback)

    def abort(self) -> None:
        """End the connection at once; idempotent."""
        if self._transport is not None:
            self._hangups.forget(self._fd)
            self._transport.abort()

    def end_when_idle(self, seconds: float) -> None:
        """End the connection when no byte moves for so long, from now on."""
        left = self._active + seconds - self._loop.time()
        if left <= 0:
            self.abort()
        elif not self.lost:
            self._idle = self._loop.call_later(left, self.end_when_idle, seconds)

    def _end(self) -> None:
        self._ended = True
        self._wake_reader()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            self._hangups.watch(self._fd, self.abort)

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._hangups.forget(self._fd)
            self._transport.resume_reading()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writer(self) -> None:
        """Give the turn to the next writer that still waits for it."""
        while self._writers and (not self._full or self.lost):
            turn = self._writers.popleft()
            if not turn.done():
                turn.set_result(None)
                return
