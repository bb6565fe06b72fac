"""What the daemon holds of a task beside its record: who works on it, and who waits for what."""

import asyncio
from dataclasses import dataclass, field

from runtime.operations import Operation
from runtime.tasks import Task


@dataclass(slots=True)
class Stop:
    """A stop under way, which every further call joins and may shorten. Loop seconds."""

    deadline: float
    timers: set[asyncio.Timeout] = field(default_factory=set)

    def shorten(self, deadline: float) -> None:
        """Bring the end of everybody's patience forward, never back."""
        if deadline < self.deadline:
            self.deadline = deadline
            for timer in self.timers:
                timer.reschedule(deadline)

    async def patience(self, ended: asyncio.Event) -> bool:
        """Wait for the end until the deadline, wherever it moves; False if it has passed."""
        try:
            async with asyncio.timeout_at(self.deadline) as timer:
                self.timers.add(timer)
                try:
                    await ended.wait()
                finally:
                    self.timers.discard(timer)
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class Live:
    """One task's events and locks.

    `settled` is set once it is no longer CREATING, `ended` once it is STOPPED, which
    `final` then shows. `lock` is held while it moves, never while somebody waits for its process.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    cleaning: asyncio.Lock = field(default_factory=asyncio.Lock)
    removing: asyncio.Lock = field(default_factory=asyncio.Lock)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    creation: asyncio.Task[None] | None = None
    operation: Operation | None = None
    starting: asyncio.Timeout | None = None
    stop: Stop | None = None
    final: Task | None = None
    cleaned: bool = False
