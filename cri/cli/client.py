"""The way of a command to the daemon: an event loop, and a connection to its socket."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Final, ParamSpec

import typer

from cri.cli.options import DEFAULT_ADDRESS
from cri.cli.reach import obstacle, plain_path, unreachable

if TYPE_CHECKING:
    from cri.cli.daemon import Daemon

P = ParamSpec("P")

_INTERRUPTED: Final = 130


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
