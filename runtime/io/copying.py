"""Copying bytes from a source to a sink."""

import asyncio

from runtime.io import Sink, Source


async def copy(source: Source, sink: Sink) -> None:
    """Copy until the source ends or nobody reads the sink any more, and say so to the other."""
    while data := await source.read():
        if not await sink.write(data):
            source.abandon()
            return
        # Neither side need have waited: the others on the loop get their turn.
        await asyncio.sleep(0)
    sink.close()


class Nowhere:
    """A `Sink` for what nobody wants, so that its source never fills up."""

    async def write(self, data: bytes) -> bool:
        """Forget the bytes."""
        return bool(data)

    def close(self) -> None:
        """Do nothing."""
