"""Signals that end a command, heard as events: what it began is taken back before it ends."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Final, Self, TypeVar

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

React = Callable[[int], Awaitable[None]]
"""Called with 1 for the first signal, 2 for the second; must not raise."""


class Interrupts:
    """Hears SIGINT, SIGTERM and SIGHUP for the block, in the main thread's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[int] = asyncio.Queue()
        self.first: int | None = None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self.hear, number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in SIGNALS:
            self._loop.remove_signal_handler(number)

    @property
    def exit_code(self) -> int:
        """What a shell says of a program that the first signal ended."""
        return 128 + (self.first or 0)

    def hear(self, number: int) -> None:
        """Take a signal."""
        self.first = self.first or number
        self._heard.put_nowait(number)

    async def during(self, work: Coroutine[None, None, T], react: React | None = None) -> T:
        """Return what `work` returns, after calling `react` for each signal that came meanwhile.

        Without `react` a signal cancels the work.

        Raises:
            CancelledError: a signal came (`first` is set), or the caller was cancelled.
        """
        outcome: asyncio.Future[T] = self._loop.create_future()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_settle(work, outcome))
            watch = group.create_task(self._watch(group, task, react))
            task.add_done_callback(lambda _: watch.cancel())
        return outcome.result()

    async def _watch(
        self, group: asyncio.TaskGroup, task: "asyncio.Task[None]", react: React | None
    ) -> None:
        count = 0
        while True:
            await self._heard.get()
            count += 1
            if react is None:
                task.cancel()
            else:
                group.create_task(_called(react, count))


async def _called(react: React, count: int) -> None:
    await react(count)


async def _settle(work: Coroutine[None, None, T], outcome: "asyncio.Future[T]") -> None:
    """Keep an error out of the group, which would wrap it."""
    try:
        result = await work
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - raised by who waits
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
