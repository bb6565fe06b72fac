"""Readings of cgroups, shared for a moment, and the CPU rate between two of them."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from runtime import blocking
from runtime.cgroups import Cgroups, Counters
from runtime.stats import Sample
from store.errors import NotFoundError

FRESH: Final = 0.5
"""Seconds that a reading is good for. crictl wants another one after a second."""

SPAN: Final = 1.0
"""The shortest time in seconds that a rate is taken over."""

KEEP: Final = 600.0
"""Seconds after which a reading that nobody asked for again is no basis for a rate."""


@dataclass(frozen=True, slots=True)
class _Point:
    """CPU time at a moment of the monotonic clock."""

    at: float
    usage: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """The last reading, and the point from which the next rate is taken."""

    sample: Sample
    at: float
    detailed: bool
    base: _Point | None


class Sampler:
    """Reads cgroups on a thread; those that ask at the same time get the same readings."""

    def __init__(self, cgroups: Cgroups, clock: Callable[[], float] = time.monotonic) -> None:
        self._cgroups = cgroups
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._reading = asyncio.Lock()

    async def samples(
        self, directories: Collection[str], *, detailed: bool = False
    ) -> dict[str, Sample]:
        """Return a reading of each cgroup by its path; without those that are gone."""
        async with self._reading:
            now = self._clock()
            stale = [path for path in set(directories) if not self._fresh(path, now, detailed)]
            if stale:
                read = partial(self._read, stale, detailed)
                self._note(await blocking.run("read cgroups", f"{len(stale)} of them", read), stale)
            return {path: kept.sample for path in directories if (kept := self._kept.get(path))}

    def _fresh(self, path: str, now: float, detailed: bool) -> bool:  # noqa: FBT001 - what is asked for
        kept = self._kept.get(path)
        return kept is not None and now - kept.at < FRESH and (kept.detailed or not detailed)

    def _read(self, paths: list[str], detailed: bool) -> dict[str, _Kept]:  # noqa: FBT001 - same
        """Read, on a thread."""
        found: dict[str, _Kept] = {}
        for path in paths:
            try:
                counters = self._cgroups.read(path, detailed=detailed)
            except NotFoundError:
                continue
            found[path] = _next(self._kept.get(path), counters, self._clock(), detailed)
        return found

    def _note(self, read: dict[str, _Kept], asked: list[str]) -> None:
        for path in asked:
            self._kept.pop(path, None)
        oldest = self._clock() - KEEP
        self._kept = {path: kept for path, kept in self._kept.items() if kept.at > oldest}
        self._kept.update(read)


def _next(before: _Kept | None, counters: Counters, at: float, detailed: bool) -> _Kept:  # noqa: FBT001 - a fact
    """Return what to keep of a reading after `before`."""
    if counters.cpu_usage is None:
        return _Kept(Sample(counters=counters), at, detailed, None)
    point = _Point(at, counters.cpu_usage)
    base = before.base if before else None
    # A cgroup that was made anew starts from nothing.
    if before is None or base is None or point.usage < base.usage:
        return _Kept(Sample(counters=counters), at, detailed, point)
    if at - base.at < SPAN:
        rate = before.sample.nano_cores
        return _Kept(Sample(counters=counters, nano_cores=rate), at, detailed, base)
    rate = int((point.usage - base.usage) / (at - base.at))
    return _Kept(Sample(counters=counters, nano_cores=rate), at, detailed, point)
