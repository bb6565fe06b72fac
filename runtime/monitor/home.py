"""Moving monitors to cgroups of their own, behind the answers.

Entering a cgroup can take the kernel some ten milliseconds, and a container's processes get a
cgroup from the OCI runtime in any case, so nobody waits for it.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from runtime.kernel.processes import start_time
from runtime.pidfd import PROC, ProcessId

_log = logging.getLogger(__name__)


class Home:
    """Takes processes in, many at once, in the order they come.

    Args:
        procs: a `cgroup.procs` file in each hierarchy; none to leave processes where they are.
    """

    def __init__(self, procs: Sequence[Path]) -> None:
        self._procs = tuple(procs)
        self._waiting: list[ProcessId] = []
        self._moving: asyncio.Future[None] | None = None

    def take_in(self, process: ProcessId) -> None:
        """Move a process soon; one that is there already or has ended is no error."""
        if self._procs:
            self._waiting.append(process)
            self._go_on()

    def _go_on(self) -> None:
        if self._moving is None and self._waiting:
            batch, self._waiting = self._waiting, []
            loop = asyncio.get_running_loop()
            self._moving = loop.run_in_executor(None, self._move, batch)
            self._moving.add_done_callback(self._moved)

    def _moved(self, done: "asyncio.Future[None]") -> None:
        self._moving = None
        if not done.cancelled():
            self._go_on()

    def _move(self, batch: Sequence[ProcessId]) -> None:
        for process in batch:
            try:
                self._move_one(process)
            except OSError as error:
                _log.warning("cannot move monitor %d to its cgroup: %s", process.pid, error)

    def _move_one(self, process: ProcessId) -> None:
        try:
            if start_time(process.pid) == process.started and not self._is_in(process):
                for procs in self._procs:
                    procs.write_text(str(process.pid))
        except (FileNotFoundError, ProcessLookupError):
            if start_time(process.pid) == process.started:
                raise

    def _is_in(self, process: ProcessId) -> bool:
        text = (PROC / str(process.pid) / "cgroup").read_text()
        unit = self._procs[0].parent.name
        return sum(line.endswith(f"/{unit}") for line in text.splitlines()) >= len(self._procs)
