"""Events of images, for whoever listens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from store.errors import UnavailableError

CREATE: Final = "/images/create"
UPDATE: Final = "/images/update"
DELETE: Final = "/images/delete"
BACKLOG: Final = 1000

Event = tuple[str, str]


class Events:
    """Hands every event to every listener that is there when it happens."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event | None]] = set()

    def publish(self, topic: str, name: str) -> None:
        """Tell all listeners; one that is `BACKLOG` events behind is dropped."""
        for queue in list(self._queues):
            if queue.qsize() < BACKLOG:
                queue.put_nowait((topic, name))
            else:
                self._queues.discard(queue)
                queue.put_nowait(None)

    async def listen(self) -> AsyncIterator[Event]:
        """Yield events from the first `anext` on.

        Raises:
            UnavailableError: this listener was too slow and has missed some.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)
        raise UnavailableError(f"cannot follow image events: more than {BACKLOG} were waiting")
