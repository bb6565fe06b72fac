"""Whether a daemon listens at an address, and the words for one that does not."""

import os
import socket
from typing import Final

from cri.cli.options import ADDRESS_VARIABLE
from store.errors import Error, UnavailableError

_REASONS: Final = {
    FileNotFoundError: "nothing is there",
    ConnectionRefusedError: "nobody listens there",
    PermissionError: "permission denied: run ferry as root or as a member of the socket's group",
}


def plain_path(address: str) -> str:
    """Return the path in an address, with or without `unix://`, independent of where we are."""
    path = address.removeprefix("unix://").removeprefix("unix:")
    return os.path.abspath(path)  # noqa: PTH100 - gRPC and connect(2) want text


def obstacle(path: str) -> str:
    """Say why nobody can be talked to at a socket; "" if somebody listens. Does not block."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return ""  # somebody does, and is busy
        except OSError as error:
            return _REASONS.get(type(error)) or str(error.strerror or error)
    return ""


def unreachable(path: str, why: str) -> Error:
    """Return the error for a daemon that is not there, with what to do next."""
    elsewhere = _configured()
    hint = f"; its configuration says {elsewhere}" if elsewhere not in {"", path} else ""
    return UnavailableError(
        f"cannot reach the daemon at {path}: {why}\n"
        f"Does ferryd run (systemctl status ferryd)? Another socket{hint}: --address SOCKET or"
        f" {ADDRESS_VARIABLE}."
    )


def _configured() -> str:
    """Return the socket that this node's configuration names; "" if it cannot be read."""
    from cri.config.load import load  # noqa: PLC0415 - only when something is wrong

    try:
        return str(load().config.daemon.socket)
    except (Error, OSError):
        return ""
