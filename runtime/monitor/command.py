"""conmon's command line, and starting it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from runtime import process
from runtime.capture import Capture
from runtime.monitor import MonitorRequest
from runtime.pidfd import Process

STDERR: Final = 2
_SYNC: Final = 3
LOCK: Final = 4


def argv(binary: Path, request: MonitorRequest) -> tuple[str, ...]:
    """Return the words that make conmon create the container."""
    program, *options = request.handler.argv()
    log = "off" if request.log_path is None else f"k8s-file:{request.log_path}"
    return (
        str(binary),
        "--sync",
        "--no-sync-log",
        "--full-attach",
        *("--cid", request.container_id, "--cuuid", request.container_id),
        *("--name", request.name or request.container_id),
        *("--runtime", program),
        *(f"--runtime-arg={option}" for option in options),
        *("--bundle", str(request.bundle)),
        *("--persist-dir", str(request.directory)),
        *("--container-pidfile", str(request.directory / "pid")),
        *("--log-path", log),
        *(("--terminal",) if request.terminal else ()),
        *(("--stdin",) if request.stdin else ()),
        *(("--leave-stdin-open",) if request.stdin and not request.stdin_once else ()),
    )


def start(
    words: Sequence[str], env: Mapping[str, str], sync: Capture, inherited: Mapping[int, int]
) -> Process:
    """Start conmon with its sync pipe."""
    environment = {**env, "_OCI_SYNCPIPE": str(_SYNC)}
    fds = {**inherited, _SYNC: sync.writer}
    return process.spawn(words, fds=fds, env=environment, session=True)
