"""What this process must not keep: descriptors, threads, tasks, children."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """How many of each there are."""

    descriptors: int
    threads: int
    tasks: int

    def within(self, others: "Kept") -> bool:
        """Tell whether there is no more of anything than `others` has."""
        return (
            self.descriptors <= others.descriptors
            and self.threads <= others.threads
            and self.tasks <= others.tasks
        )


def kept() -> Kept:
    """Count. Idle threads of pools, which stay for the next call, do not count."""
    names = [thread.name for thread in threading.enumerate()]
    lasting = [name for name in names if not name.startswith(("asyncio_", "blocking"))]
    return Kept(
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - numbers, not paths
        threads=len(lasting),
        tasks=len(asyncio.all_tasks()),
    )


async def settled(expected: Kept, seconds: float = 5.0) -> Kept:
    """Return what is kept once it is no more than was expected, or after so long.

    It may be less: what an earlier test left to the collector goes when it goes.
    """
    try:
        async with asyncio.timeout(seconds):
            while not kept().within(expected):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        pass
    return kept()


@asynccontextmanager
async def nothing_kept() -> AsyncIterator[None]:
    """Fail if the block leaves anything behind."""
    before = kept()
    yield
    left = await settled(before)
    assert left.within(before), f"{left} is more than {before}"
