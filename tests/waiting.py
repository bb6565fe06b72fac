"""Waiting for what gives no event: the outside world."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, within: float = 5.0) -> None:
    """Return as soon as `condition` holds; TimeoutError if it does not `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(0.005)
