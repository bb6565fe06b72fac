"""What is wrong with a streaming request before any client comes."""

from cri.streaming import PortForwardRequest, Request
from runtime.io import ExecRequest, Wanted
from store.errors import InvalidArgumentError

_MOST = 0xFFFF


def check(request: Request) -> None:
    """Check what can be checked without looking at the node.

    Raises:
        InvalidArgumentError: names the field.
    """
    if isinstance(request, PortForwardRequest):
        _check_forward(request)
        return
    if not request.container_id:
        raise InvalidArgumentError("cannot stream: container_id is empty")
    if isinstance(request, ExecRequest) and not request.argv:
        raise InvalidArgumentError("cannot exec: cmd is empty")
    _check_wanted(request.wanted)


def _check_wanted(wanted: Wanted) -> None:
    if wanted.terminal and wanted.stderr:
        raise InvalidArgumentError("cannot stream: tty and stderr cannot both be true")
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise InvalidArgumentError("cannot stream: one of stdin, stdout and stderr must be true")


def _check_forward(request: PortForwardRequest) -> None:
    if not request.sandbox_id:
        raise InvalidArgumentError("cannot forward ports: pod_sandbox_id is empty")
    for port in request.ports:
        if not 0 < port <= _MOST:
            raise InvalidArgumentError(f"cannot forward ports: port {port} is no TCP port")
