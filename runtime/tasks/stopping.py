"""Ending a task: its signal, patience that can be shortened, SIGKILL, a report if that fails."""

import asyncio
import signal as signals
from typing import Final

from runtime.operations import stage
from runtime.pidfd import ProcessId
from runtime.tasks import State, Task, states
from runtime.tasks.keeper import Keeper
from runtime.tasks.live import Live, Stop
from store.errors import UnavailableError

# After SIGKILL: when the whole cgroup is killed as well, and when we give up waiting.
_UNTIL_CGROUP: Final = 0.5
_UNTIL_STUCK: Final = 10.0


class Stopper:
    """Stops tasks in any state; see `Tasks.stop`."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def stop(self, task: Task, signal: int, grace: float) -> Task:
        """Return the task STOPPED, or raise UnavailableError if its process cannot die."""
        live = self._keeper.live(task)
        deadline = _now() + grace
        if not live.settled.is_set() and not await Stop(deadline).patience(live.settled):
            await self._give_up_creating(task, live)
        task = self._keeper.ledger.find(task.namespace, task.id) or task
        if live.ended.is_set():
            return live.final or task
        if task.process is None or task.state is State.UNKNOWN:
            return await self._put_away(task)
        stage("stop", f"{task.id} with signal {signal}")
        if not await self._begin(task, task.process, signal, deadline).patience(live.ended):
            await self._kill(task, task.process, live)
        return live.final or task

    async def _give_up_creating(self, task: Task, live: Live) -> None:
        creation = live.creation
        if creation is not None:
            creation.cancel()
            await asyncio.wait([creation])
        if not live.settled.is_set():
            why = f"cannot create container {task.id}: it was stopped before it was created"
            await self._keeper.fail(task, why)

    def _begin(self, task: Task, process: ProcessId, signal: int, deadline: float) -> Stop:
        """Return the stop that is under way, no longer than `deadline`; begin one if none is."""
        live = self._keeper.live(task)
        if live.stop is not None:
            live.stop.shorten(deadline)
            return live.stop
        live.stop = Stop(deadline)
        if task.state is State.RUNNING and deadline > _now():
            self._keeper.parts.processes.send(process, signal)
        else:  # before it is started there is nobody who could handle a signal
            live.stop.shorten(0)
        return live.stop

    async def _kill(self, task: Task, process: ProcessId, live: Live) -> None:
        parts = self._keeper.parts
        parts.processes.send(process, signals.SIGKILL)
        if await Stop(_now() + _UNTIL_CGROUP).patience(live.ended):
            return
        stage("kill cgroup", task.cgroup)
        await self._keeper.kill_cgroup(task)
        if await Stop(_now() + _UNTIL_STUCK).patience(live.ended):
            return
        raise UnavailableError(
            f"cannot stop task {task.id}: {parts.processes.where(process)} outlives SIGKILL"
        )

    async def _put_away(self, task: Task) -> Task:
        """End a task whose process is not known: whatever is in its cgroup goes."""
        parts = self._keeper.parts
        await self._keeper.kill_cgroup(task)
        if task.process is not None:
            parts.processes.send(task.process, signals.SIGKILL)
        now, why = parts.now(), f"stopped by its cgroup: {task.message}"
        stopped = self._keeper.conclude(task, lambda old: states.lost(old, why, now))
        await self._keeper.clean(stopped)
        return stopped


def _now() -> float:
    return asyncio.get_running_loop().time()
