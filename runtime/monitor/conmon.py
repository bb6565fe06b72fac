"""conmon as the monitor: one small process beside each container.

Started with `--sync` it does not fork away, so the pid we spawn is the monitor's; it opens a
session of its own, and outlives the daemon. With `--persist-dir` it leaves `exit` and `oom` in the
request's directory; `attach`, `ctl` and `winsz` appear in the bundle. It reports the created
process, or the runtime's words, as one JSON line on its sync pipe.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from runtime import pidfd, process
from runtime.capture import Capture
from runtime.monitor import Exit, Monitored, MonitorRequest, command, held, logfile, report, scan
from runtime.monitor.home import Home
from runtime.oci import OciRuntime
from runtime.oci.messages import plain
from runtime.operations import stage
from runtime.pidfd import Process, ProcessId, shell_code
from runtime.rollback import Rollback
from runtime.tree import Tree
from store.errors import DeadlineExceededError, FailedPreconditionError, NotFoundError

# A monitor whose container is gone tells within milliseconds, unless somebody stopped it.
_UNTIL_CONTINUED: Final = 0.3
_UNTIL_KILLED: Final = 5.0
# How long a create that a former daemon began may still take.
_UNTIL_CREATED: Final = 5.0
_PAUSE: Final = 0.02


class Conmon:
    """Implements `Monitor`.

    Args:
        binary: the conmon program (2.1.9 or newer).
        runtime: cleans up behind a create that was cut short.
        env: what monitors and the runtimes they start get as environment; PATH if None.
        cgroups: `cgroup.procs` files that monitors are entered in, so that they do not share the
            daemon's fate; none to leave them beside the daemon.
        timeout: seconds that a create may take.
    """

    def __init__(
        self,
        binary: Path,
        runtime: OciRuntime,
        *,
        env: Mapping[str, str] | None = None,
        cgroups: Sequence[Path] = (),
        timeout: float = 60.0,
    ) -> None:
        self._binary = binary
        self._runtime = runtime
        self._env = process.default_environment() if env is None else dict(env)
        self._home = Home(cgroups)
        self._timeout = timeout
        self._children: dict[ProcessId, Process] = {}
        self._scan: asyncio.Future[Mapping[Path, int]] | None = None

    def prepare(self, request: MonitorRequest) -> None:
        """See `Monitor.prepare`."""
        if request.log_path is not None:
            logfile.prepare(request.log_path)
        for name in ("exit", "oom", "pid"):
            (request.directory / name).unlink(missing_ok=True)

    async def create(self, request: MonitorRequest) -> Monitored:
        """See `Monitor.create`."""
        stage(f"{request.handler.binary.name} create", request.container_id)
        async with Rollback(grace=15.0) as undo:
            with contextlib.closing(Capture(4096)) as errors, _capture(1 << 16) as sync:
                child = self._start(request, sync, errors)
                monitor = pidfd.identify(child.pid)
                undo.push("end the monitor", self._abandon, request, child, monitor)
                created = report.parse(await self._line(request, sync))
                if created.pid <= 0:
                    raise await _refusal(request, created, child, errors)
            monitored = Monitored(process=_first(request, created.pid), monitor=monitor)
            undo.keep()
        self._home.take_in(monitor)
        self._children[monitor] = child
        child.when_ended(lambda: self._children.pop(monitor, None))
        return monitored

    async def find(self, request: MonitorRequest) -> Monitored | None:
        """See `Monitor.find`. Calls at the same time share one pass over /proc."""
        monitor = await self._monitor(request)
        watch = None if monitor is None else pidfd.adopt(monitor)
        if monitor is None or watch is None:
            return None
        with contextlib.closing(watch):
            pid = await _created(request, watch)
            with contextlib.suppress(NotFoundError):
                return Monitored(process=pidfd.identify(pid), monitor=monitor)
            await self._abandon(request, watch, monitor)
            return None

    async def _monitor(self, request: MonitorRequest) -> ProcessId | None:
        """Return the request's monitor; None once it is certain that there is none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNTIL_CREATED):
                while held.held(request.directory):
                    number = (await self._monitors()).get(request.directory)
                    with contextlib.suppress(NotFoundError):
                        return pidfd.identify(number or 0)
                    await asyncio.sleep(_PAUSE)
        return None

    async def wait(self, request: MonitorRequest, monitored: Monitored) -> Exit | None:
        """See `Monitor.wait`.

        A monitor that is stopped when its container ends is continued; one that says nothing
        even then is killed.
        """
        child = self._children.get(monitored.monitor)
        if child is None:  # a former daemon may have gone before it was home
            self._home.take_in(monitored.monitor)
        with contextlib.ExitStack() as watches:
            monitor = child or _adopt(monitored.monitor, watches)
            first = _adopt(monitored.process, watches)
            if monitor is not None:
                _expect_end(monitor, first)
                await monitor.wait()
            told = report.exit_of(request)
            if told is not None or first is None:
                return told
            if not first.running:  # a zombie that its dead monitor had not reaped is now ours
                first = _adopt(monitored.process, watches)
            return None if first is None else _seen(await first.wait())

    async def reopen_log(self, request: MonitorRequest) -> None:
        """See `Monitor.reopen_log`."""
        stage("reopen log", request.container_id)
        if request.log_path is not None:
            await logfile.reopen(request.log_path, request.bundle / "ctl")

    def close(self) -> None:
        """Stop watching; the monitors live on."""
        for child in tuple(self._children.values()):
            child.close()
        self._children.clear()

    def _start(self, request: MonitorRequest, sync: Capture, errors: Capture) -> Process:
        words = command.argv(self._binary, request)
        with held.hold(request.directory) as lock:
            inherited = {command.STDERR: errors.writer, command.LOCK: lock}
            child = command.start(words, self._env, sync, inherited)
        sync.started()
        errors.started()
        return child

    async def _line(self, request: MonitorRequest, sync: Capture) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                return await sync.line()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"cannot create container {request.container_id}: "
                f"{request.handler.binary.name} did not answer within {self._timeout:g} s"
            ) from error

    async def _abandon(self, request: MonitorRequest, child: Process, monitor: ProcessId) -> None:
        """Leave neither monitor nor runtime nor container behind."""
        if child.running:
            await asyncio.to_thread(Tree(monitor).kill, _UNTIL_KILLED)
            await child.wait()
        await self._runtime.delete(request.handler, request.container_id, force=True)

    async def _monitors(self) -> Mapping[Path, int]:
        if self._scan is None:
            self._scan = asyncio.get_running_loop().run_in_executor(None, scan.monitors)
            self._scan.add_done_callback(self._scanned)
        return await asyncio.shield(self._scan)

    def _scanned(self, _: object) -> None:
        self._scan = None


def _adopt(process_id: ProcessId, watches: contextlib.ExitStack) -> Process | None:
    found = pidfd.adopt(process_id)
    if found is not None:
        watches.callback(found.close)
    return found


def _capture(limit: int) -> contextlib.closing[Capture]:
    return contextlib.closing(Capture(limit))


def _seen(code: int | None) -> Exit | None:
    """Return what we saw of a container that became our child when its monitor was killed."""
    return None if code is None else Exit(code=shell_code(code), at=time.time_ns())


async def _refusal(
    request: MonitorRequest, created: report.Report, child: Process, errors: Capture
) -> FailedPreconditionError:
    """Return the error for a create that failed, once the monitor has gone by itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await child.wait()
    await errors.drain()
    why = created.message or plain(errors.data) or f"conmon ended with {child.code} without a word"
    return FailedPreconditionError(f"cannot create container {request.container_id}: {why}")


def _first(request: MonitorRequest, pid: int) -> ProcessId:
    try:
        return pidfd.identify(pid)
    except NotFoundError as error:
        raise FailedPreconditionError(
            f"cannot create container {request.container_id}: its first process died at once"
        ) from error


async def _created(request: MonitorRequest, monitor: Process) -> int:
    """Return the pid of the first process once the runtime has made it; 0 if it never does."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_UNTIL_CREATED):
            while monitor.running:
                with contextlib.suppress(OSError, ValueError):
                    return int((request.directory / "pid").read_text())
                await asyncio.sleep(_PAUSE)
    return 0


def _expect_end(monitor: Process, first: Process | None) -> None:
    """Once the container is gone, see to it that its monitor goes, too."""
    loop = asyncio.get_running_loop()

    def hurry() -> None:
        loop.call_later(_UNTIL_CONTINUED, monitor.send, signal.SIGCONT)
        loop.call_later(_UNTIL_KILLED, monitor.send, signal.SIGKILL)

    if first is None:
        hurry()
    else:
        first.when_ended(hurry)
