"""One pull for all who ask for it, whose progress all of them hear of."""

from collections.abc import Awaitable, Callable, Hashable
from types import TracebackType
from typing import Generic, Self, TypeVar

from store.flight import Flight
from store.images import Progress, Report

T = TypeVar("T")


class Sharing(Generic[T]):
    """Runs by key, as `Flight`, with reports. Use as a block."""

    def __init__(self) -> None:
        self._flight: Flight[T] = Flight()
        self._listeners: dict[Hashable, list[Report]] = {}

    def __repr__(self) -> str:
        return repr(self._flight)

    async def __aenter__(self) -> Self:
        await self._flight.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._flight.__aexit__(kind, error, trace)

    async def join(
        self,
        key: Hashable,
        work: Callable[[Report], Awaitable[T]],
        report: Report | None,
        *,
        name: str = "",
    ) -> T:
        """Return what `work` returns, from the run under `key` if there is one.

        `report` hears of the progress of the shared run from now on. `name` is what people call
        the run.
        """
        listeners = self._listeners.setdefault(key, [])
        own = report or _ignore
        listeners.append(own)

        def tell(progress: Progress) -> None:
            for listener in listeners:
                listener(progress)

        try:
            return await self._flight.join(key, lambda: work(tell), name=name)
        finally:
            listeners.remove(own)
            if not listeners:
                self._listeners.pop(key, None)


def _ignore(_: Progress) -> None:
    """Hear nothing."""
