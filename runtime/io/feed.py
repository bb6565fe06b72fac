"""A source whose bytes are pushed by somebody else."""

import asyncio
from collections.abc import Callable


class Feed:
    """Implements `Source`; unbounded by itself.

    Args:
        taken: called with the number of bytes that left the feed, read or thrown away, so that
            whoever pushes can keep it small.
    """

    def __init__(self, taken: Callable[[int], None] | None = None) -> None:
        self._taken = taken
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._abandoned = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """How many bytes wait to be read."""
        return self._size

    @property
    def open(self) -> bool:
        """Whether somebody may still read what is pushed."""
        return not (self._abandoned or self._ended)

    def push(self, data: bytes) -> None:
        """Add bytes; after the end, or when nobody reads, they are thrown away."""
        if self._abandoned:
            self._tell(len(data))
        elif not self._ended:
            self._chunks.append(data)
            self._size += len(data)
            self._wake()

    def end(self) -> None:
        """Say that no more comes; what is there can still be read."""
        self._ended = True
        self._wake()

    async def read(self) -> bytes:
        """See `Source.read`."""
        while not self._chunks and not self._ended and not self._abandoned:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._clear()
        return data

    def abandon(self) -> None:
        """See `Source.abandon`."""
        self._abandoned = True
        self._clear()
        self._wake()

    def _clear(self) -> None:
        count, self._size = self._size, 0
        self._chunks.clear()
        self._tell(count)

    def _tell(self, count: int) -> None:
        if count and self._taken is not None:
            self._taken(count)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
