"""Blocking file work away from the event loop, never abandoned half-way."""

import asyncio
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns, run on a thread.

    When the caller is cancelled it is told only after `call` has ended: what the call works on
    (descriptors, directories) can be cleared away safely then.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, functools.partial(call, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # the cancellation is what counts now
        raise cancelled
    return future.result()
