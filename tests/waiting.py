"""Waiting for what gives no event: the outside world."""

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 60.0
"""Seconds until a test gives up what must happen; far beyond what a busy machine takes."""


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as `condition` holds; TimeoutError if it does not within `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(0.005)
