"""What containers have written into their layers, measured beside the calls.

A walk takes from microseconds to minutes, so figures are renewed only while somebody asks for
them, and never for more than a share of the time. A container that was never measured is measured
at once, and whoever asked waits a little for it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from runtime.stats import LayerUsage
from store.errors import Error, NotFoundError
from store.snapshots import Usage

FRESH: Final = 10.0
"""Seconds that a figure is good for."""

PATIENCE: Final = 0.5
"""Seconds that an answer waits for first figures."""

KEEP: Final = 600.0
"""Seconds after which a figure that nobody asked for is forgotten."""

_REST: Final = 4.0
"""How many times the length of a walk passes before the next renewal."""

Key = tuple[str, str]
"""A namespace, and the key of a snapshot in it."""

Measure = Callable[[str, str], Awaitable[Usage]]
"""Walks a snapshot; NotFoundError if it is gone. See `Snapshotter.usage`."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Figure:
    usage: LayerUsage
    at: float
    asked: float


class LayerMeter:
    """Knows the figures of containers' layers; `run` goes on beside it."""

    def __init__(self, measure: Measure, clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._figures: dict[Key, _Figure] = {}
        self._first: dict[Key, asyncio.Event] = {}
        self._old: dict[Key, None] = {}
        self._wanted_first = asyncio.Event()
        self._wanted_again = asyncio.Event()

    def __repr__(self) -> str:
        return f"LayerMeter({len(self._figures)} figures, {len(self._first)} never measured)"

    async def known(self, namespace: str, keys: Iterable[str]) -> dict[str, LayerUsage]:
        """Return the figures there are; waits up to `PATIENCE` seconds for first ones."""
        wanted = [(namespace, key) for key in keys]
        waits = [self._ask_first(key) for key in wanted if key not in self._figures]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE if waits else None):
                for event in waits:
                    await event.wait()
        self._ask_again(wanted)
        return {key[1]: self._figures[key].usage for key in wanted if key in self._figures}

    async def run(self) -> None:
        """Measure what is asked for; for a task, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_first(), name="measure new layers")
            group.create_task(self._run_again(), name="measure layers again")

    def _ask_first(self, key: Key) -> asyncio.Event:
        self._wanted_first.set()
        return self._first.setdefault(key, asyncio.Event())

    def _ask_again(self, keys: Iterable[Key]) -> None:
        """Mark the figures as asked for, and the old ones as wanted; forget the forgotten."""
        now = self._clock()
        for key in keys:
            if figure := self._figures.get(key):
                figure.asked = now
                if now - figure.at > FRESH:
                    self._old[key] = None
                    self._wanted_again.set()
        for key in [key for key, one in self._figures.items() if now - one.asked > KEEP]:
            del self._figures[key]

    async def _run_first(self) -> None:
        while True:
            await self._wanted_first.wait()
            self._wanted_first.clear()
            while key := next(iter(self._first), None):
                await self._renew(key)
                self._first.pop(key).set()

    async def _run_again(self) -> None:
        while True:
            await self._wanted_again.wait()
            self._wanted_again.clear()
            while key := next(iter(self._old), None):
                del self._old[key]
                before = self._clock()
                await self._renew(key)
                await asyncio.sleep((self._clock() - before) * _REST)

    async def _renew(self, key: Key) -> None:
        try:
            usage = await self._measure(*key)
        except NotFoundError:
            self._figures.pop(key, None)
        except (Error, OSError) as error:
            _log.warning("cannot measure what %s takes: %s", key[1], error)
        else:
            now = self._clock()
            figure = LayerUsage(timestamp=time.time_ns(), bytes=usage.bytes, inodes=usage.inodes)
            old = self._figures.get(key)
            self._figures[key] = _Figure(figure, now, old.asked if old else now)
