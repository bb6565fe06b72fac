"""Finding the tasks again after the daemon was away; all at once, and each on its own.

What a record says is compared with what runs: a process is the task's if pid and start time match.
A record that makes no sense becomes UNKNOWN with the reason, and keeps nobody else.
"""

import asyncio
import logging
from functools import partial
from typing import Final

from runtime import blocking
from runtime.tasks import State, Task, states
from runtime.tasks.keeper import Keeper
from runtime.tasks.limits import put_back_interrupted
from store.errors import FailedPreconditionError

_log = logging.getLogger(__name__)

# How long recovery waits for the record of a task that has ended meanwhile.
_SETTLE: Final = 5.0


class Recovery:
    """One recovery, at the daemon's start."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ledger = keeper.ledger
        self._processes = keeper.parts.processes

    async def run(self, *, rebooted: bool) -> None:
        """Bring every record in line with what runs. After a reboot nothing does."""
        async with asyncio.TaskGroup() as group:
            for task in self._ledger.walk():
                group.create_task(self._one(task, rebooted=rebooted), name=f"recover {task.id}")

    async def _one(self, task: Task, *, rebooted: bool) -> None:
        try:
            if task.state is State.STOPPED:
                self._bury(task)
            elif rebooted:
                self._lost(task, "the node was restarted")
            elif task.state is State.CREATING:
                await self._created(task)
            else:
                await self._found(task)
        except Exception as error:  # noqa: BLE001 - one bad record must not keep the others
            reason = f"cannot recover: {error}"
            _log.warning("task %s/%s: %s", task.namespace, task.id, reason, exc_info=True)
            self._ledger.move(task, lambda old: states.unknown(old, reason))
            self._keeper.live(task).settled.set()

    def _bury(self, task: Task) -> None:
        """Clear up behind a stopped task, if the daemon went before it had."""
        self._keeper.end(task)
        self._keeper.jobs.spawn(self._keeper.clean(task), f"clear up task {task.id}")

    def _lost(self, task: Task, why: str) -> None:
        now = self._keeper.parts.now()
        self._bury(self._keeper.conclude(task, lambda old: states.lost(old, why, now)))

    async def _created(self, task: Task) -> None:
        """Go on with a create that came to its end; begin one that did not anew.

        The client has its id and will start it: all that a create needs is in the bundle.
        """
        monitored = await self._keeper.parts.monitor.find(self._keeper.request(task))
        if monitored is not None:
            self._keeper.created(task, monitored)
            return
        self._keeper.jobs.spawn(self._keeper.create_again(task), f"create {task.id} again")

    async def _found(self, task: Task) -> None:
        if task.process is None or task.monitor is None:
            raise FailedPreconditionError("its record names no process")
        put_back = partial(put_back_interrupted, self._keeper.parts.cgroups, task)
        await blocking.run("put limits back", task.id, put_back)
        alive = self._processes.send(task.process, 0)
        monitored = self._processes.send(task.monitor, 0)
        handler = self._keeper.handler(task)
        if alive and task.state in (State.CREATED, State.UNKNOWN):
            task = self._as_it_runs(task, self._keeper.parts.runtime.started(handler, task.id))
        watch = self._keeper.watch(task)
        if not alive and not monitored:
            await asyncio.wait([watch], timeout=_SETTLE)

    def _as_it_runs(self, task: Task, started: bool) -> Task:  # noqa: FBT001 - the one fact it needs
        """Catch up with a start that the daemon could not record any more."""
        now = self._keeper.parts.now()
        if started:
            return self._ledger.move(task, lambda old: states.running(old, now))
        if task.state is State.UNKNOWN:
            return self._ledger.move(task, lambda old: states.to(old, State.CREATED))
        return task
