"""A real daemon on a private root, state and socket: started, killed, started again.

`Service` is what any CRI daemon has in common, so that the tests and the benchmark can also drive a
peer; `Daemon` is ferry.
"""

import abc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

REPOSITORY: Final = Path(__file__).resolve().parent.parent
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0

Settings = Mapping[str, Mapping[str, object]]


class DaemonError(Exception):
    """A daemon did not do what it was told; the text has the end of its log."""


def toml(settings: Settings) -> str:
    """Write `settings` as TOML: tables by dotted name, values as JSON has them, too."""
    return "\n".join(
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entries.items())
        for table, entries in settings.items()
    )


def default_settings(folder: Path, *, number: int = 0) -> dict[str, dict[str, object]]:
    """Return what a test's daemon is configured with; `number` keeps daemons on one node apart."""
    return {
        "daemon": {"log_level": "debug"},
        "images": {"hosts_directories": [str(folder / "certs.d")]},
        "network": {
            "plugin": "bridge",
            "bridge": f"ferrytest{number}",
            "subnets": [f"10.{77 + number}.0.0/16"],
        },
        "cgroups": {"driver": "cgroupfs"},
    }


class Service(abc.ABC):
    """A daemon that serves CRI and tells systemd when it is ready, and its files.

    `folder` holds its root, configuration and log. Its state lies in /run, because paths of sockets
    must be short and because a state directory is on a tmpfs. Leaving the block stops the daemon
    and removes the state; containers are the tests' to remove.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.state = Path(tempfile.mkdtemp(prefix="ferry-", dir="/run"))
        self.address = self.state / "cri.sock"
        self.config = folder / "config.toml"
        self.log = folder / "log"
        self._notify = self.state.with_name(f"{self.state.name}.notify")
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @abc.abstractmethod
    def argv(self) -> list[str]:
        """Return the command that starts it."""

    def environment(self) -> dict[str, str]:
        """Return the environment that it is started with."""
        return {"PATH": os.environ["PATH"]}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running:
            self.stop()
        self._notify.unlink(missing_ok=True)
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of the daemon, which must be running."""
        assert self._process is not None, "the daemon was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, *, notify: bool = True) -> "subprocess.Popen[bytes]":
        """Start a process of this daemon without waiting for anything; the caller reaps it."""
        environment = self.environment()
        if notify:
            environment["NOTIFY_SOCKET"] = str(self._notify)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
            )

    def start(self) -> float:
        """Return, once the daemon says it is ready, how many seconds that took."""
        assert not self.running, "the daemon runs already"
        began = time.monotonic()
        self._notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(self._notify))
            self._process = self.spawn()
            if not self._await_ready(notify, self._process.pid):
                self.kill()
                raise DaemonError(f"the daemon does not become ready:\n{self.tail()}")
        return time.monotonic() - began

    def _await_ready(self, notify: socket.socket, pid: int) -> bool:
        deadline = time.monotonic() + START_SECONDS
        pidfd = os.pidfd_open(pid)
        try:
            while (left := deadline - time.monotonic()) > 0:
                ready, _, _ = select.select([notify.fileno(), pidfd], [], [], left)
                if notify.fileno() in ready:
                    if b"READY=1" in notify.recv(4096).split(b"\n"):
                        return True
                elif ready:
                    return False
            return False
        finally:
            os.close(pidfd)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "the daemon was never started"
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Return the exit code once the daemon has ended."""
        assert self._process is not None, "the daemon was never started"
        return self._process.wait(seconds)

    def stop(self) -> int:
        """End the daemon as systemd does; containers go on. Return its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonError(f"the daemon ignores SIGTERM:\n{self.tail()}") from None

    def kill(self) -> None:
        """End the daemon as a crash does."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.wait()

    def restart(self, *, crash: bool = False) -> float:
        """End the daemon, by SIGKILL if `crash`, and start it anew; return the start's seconds."""
        if crash:
            self.kill()
        else:
            self.stop()
        return self.start()

    def tail(self, lines: int = 40) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Daemon(Service):
    """ferry, from this source tree."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        super().__init__(folder)
        self.config.write_text(toml(settings if settings is not None else default_settings(folder)))

    def argv(self) -> list[str]:
        return [
            *(sys.executable, "-m", "cri"),
            *("--config", str(self.config)),
            *("--root", str(self.root)),
            *("--state", str(self.state)),
            *("--address", str(self.address)),
        ]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(REPOSITORY)}
