"""conmon, the process beside each container: the contract.

The monitor is the parent of the container's first process. It writes the log, holds the stdio and
leaves the exit code in a file, whether or not the daemon lives. The daemon knows it by pid and
start time, waits on its pidfd, and adopts it again after a restart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.oci import Handler
from runtime.pidfd import ProcessId


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRequest:
    """One container to create. `directory` is the monitor's own, 0700, and must exist.

    Below it the monitor keeps its exit file and the container's pid file; the attach socket and
    the control FIFOs are in the bundle. `log_path` may be None: output is then discarded.
    """

    namespace: str
    container_id: str
    name: str
    bundle: Path
    directory: Path
    handler: Handler
    log_path: Path | None = None
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitored:
    """A created container: its first process and its monitor."""

    process: ProcessId
    monitor: ProcessId


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended. `at` is Unix nanoseconds; `oom` is what the monitor saw."""

    code: int
    at: int
    oom: bool = False


class Monitor(Protocol):
    """Starting, finding and hearing monitors."""

    def prepare(self, request: MonitorRequest) -> None:
        """Make what the monitor will write to, before anything is started.

        Raises:
            InvalidArgumentError: `log_path` is not, and cannot become, a plain file.
        """
        ...

    async def create(self, request: MonitorRequest) -> Monitored:
        """Start a monitor that runs the OCI runtime's `create`.

        On an error or cancellation neither monitor nor container is left.

        Raises:
            FailedPreconditionError: the runtime refused; the text is its own message.
        """
        ...

    async def find(self, request: MonitorRequest) -> Monitored | None:
        """Find what a daemon that died during `create` left running, or None."""
        ...

    async def wait(self, request: MonitorRequest, monitored: Monitored) -> Exit | None:
        """Return how the container ended, once it has; now, if it has already.

        None: the monitor died before it could tell, and nobody else saw it; the process is gone as
        well by then.
        """
        ...

    async def reopen_log(self, request: MonitorRequest) -> None:
        """Return when the log file at the request's path exists anew and takes all further lines.

        Raises:
            UnavailableError: the monitor does not answer; no file was made.
        """
        ...
