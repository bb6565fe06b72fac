"""Several things at once, where one that fails or hangs does not keep the others from ending."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


async def together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run all calls to their end, then raise the first error there was, in the calls' order."""
    if len(calls) == 1:
        await calls[0]()
        return
    errors: dict[int, Exception] = {}

    async def one(number: int, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001 - raised below, once the others have ended
            errors[number] = error

    async with asyncio.TaskGroup() as group:
        for number, call in enumerate(calls):
            group.create_task(one(number, call))
    if errors:
        raise errors[min(errors)]
