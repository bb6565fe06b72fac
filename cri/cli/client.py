"""The way to the daemon: connecting to its socket, and saying why it cannot be reached."""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Final, ParamSpec

import typer

from cri.cli.options import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from store.errors import Error, UnavailableError

if TYPE_CHECKING:
    from cri.cli.daemon import Daemon

P = ParamSpec("P")

_INTERRUPTED: Final = 130
_REASONS: Final = {
    FileNotFoundError: "nothing is there",
    ConnectionRefusedError: "nobody listens there",
    PermissionError: "permission denied: run ferry as root or as a member of the socket's group",
}


@contextlib.asynccontextmanager
async def connect(address: str = DEFAULT_ADDRESS) -> AsyncIterator["Daemon"]:
    """Talk to the daemon that listens at `address` for the block.

    Raises:
        UnavailableError: none does; says why, and where one may be.
    """
    path = plain_path(address)
    if why := obstacle(path):
        raise unreachable(path, why)
    from cri.cli.daemon import opened  # noqa: PLC0415 - takes longer than all the rest

    async with opened(path) as daemon:
        yield daemon


def command(body: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Return a coroutine function as the plain one that a command is."""

    @functools.wraps(body)
    def plain(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(body(*args, **kwargs))
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None

    return plain


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
