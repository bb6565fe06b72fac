"""What carries a session's bytes: the contract between transports and protocols."""

from collections.abc import Callable
from typing import Protocol


class Link(Protocol):
    """A connection to one client. One reader; any number of writers."""

    @property
    def unsent(self) -> int:
        """How many written bytes the kernel has not taken yet."""
        ...

    async def receive(self) -> bytes:
        """Return the next bytes; nothing once the peer sends no more or is gone.

        Raises:
            ProtocolError: the peer broke the transport's rules.
        """
        ...

    async def room(self) -> bool:
        """Return once something may be written, at once if there is room; False if it is gone.

        What is written must be written before anything else is awaited.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send bytes; they are dropped if the peer is gone."""
        ...

    def finish(self) -> None:
        """Say that nothing more will be sent; idempotent."""
        ...

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Call back once the peer is gone or sends no more; at once if that is so already."""
        ...
