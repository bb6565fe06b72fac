"""What conmon tells: the line on its sync pipe, the exit file and the OOM mark it leaves."""

import json
from dataclasses import dataclass

from runtime.monitor import Exit, MonitorRequest
from runtime.oci.messages import plain

_UNKNOWN = 255


@dataclass(frozen=True, slots=True)
class Report:
    """A created container's first process, or why there is none."""

    pid: int
    message: str = ""


def parse(line: bytes) -> Report:
    """Read a line such as `{"pid": 42}` or `{"pid": -1, "message": "..."}`.

    What is not JSON (older conmon escape too little) is itself the message.
    """
    try:
        fields = json.loads(line, strict=False)
        pid = int(fields.get("data", fields.get("pid", -1)))
        message = str(fields.get("message", ""))
    except (ValueError, TypeError, AttributeError):
        return Report(-1, plain(line))
    return Report(pid, plain(message.encode()))


def exit_of(request: MonitorRequest) -> Exit | None:
    """Read how the container ended; None if its monitor has not said, or not legibly."""
    path = request.directory / "exit"
    try:
        code = int(path.read_text())
        at = path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    return Exit(code=code if 0 <= code <= _UNKNOWN else _UNKNOWN, at=at, oom=_oom(request))


def _oom(request: MonitorRequest) -> bool:
    return (request.directory / "oom").exists() or (request.bundle / "oom").exists()
