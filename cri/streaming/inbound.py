"""What a client sends on one stream, kept until somebody reads it."""

from collections.abc import Callable

from runtime.io.feed import Feed


class Inbound:
    """Implements `Source`; streams of every transport extend it.

    Args:
        taken: called with the number of bytes that were read or thrown away.
    """

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._feed = Feed(taken)

    @property
    def unread(self) -> int:
        """How many bytes have come that nobody has read yet."""
        return self._feed.size

    async def read(self) -> bytes:
        """See `Source.read`."""
        return await self._feed.read()

    def abandon(self) -> None:
        """See `Source.abandon`."""
        self._feed.abandon()

    def push(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self._feed.push(data)

    def no_more(self) -> None:
        """The peer sends no more."""
        self._feed.end()
