"""Noticing that a peer is gone while nothing is read from it.

A transport whose reading is paused sees no end of file: a client that vanishes while its input
waits for a program would keep the session for ever. The kernel tells all the same (EPOLLRDHUP).
"""

import asyncio
import select
from collections.abc import Callable


class Hangups:
    """One epoll descriptor for all connections that are paused."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._ready)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back once the peer of socket `fd` has closed its side."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLRDHUP)

    def forget(self, fd: int) -> None:
        """Watch a socket no longer, before it is closed; idempotent."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more; idempotent."""
        self._callbacks.clear()
        if not self._epoll.closed:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            self.forget(fd)
            if callback is not None:
                callback()
