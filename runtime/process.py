"""Starting programs: posix_spawn, a pidfd, and nobody left behind.

`spawn` costs the loop 0.2 ms of its own besides the 0.7 ms the kernel takes until exec; forking a
daemon of 60 MB would take ten times that. Nothing is inherited that is not named: descriptors are
given by number, the environment is explicit, ignored signals are reset.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime.capture import Streams
from runtime.pidfd import Process, own_child
from runtime.rollback import finish
from store.errors import (
    DeadlineExceededError,
    Error,
    FailedPreconditionError,
)

_log = logging.getLogger(__name__)

# How much of a command line an error shows.
_QUOTED = 500
# What CPython ignores; an exec would hand that on to whatever we start.
_RESET = (signal.SIGPIPE, signal.SIGXFSZ)


def default_environment() -> dict[str, str]:
    """Return what every program gets unless told otherwise: PATH."""
    return {"PATH": os.environ.get("PATH", os.defpath)}


def spawn(
    argv: Sequence[str],
    *,
    fds: Mapping[int, int] | None = None,
    env: Mapping[str, str] | None = None,
    session: bool = False,
) -> Process:
    """Start a program and return it, a child whose end must be awaited.

    Args:
        argv: its words; the first is the path of the program, which is not searched for.
        fds: the child's descriptor numbers and which of ours they become; 0, 1 and 2 are
            /dev/null if not given. Ours stay open.
        env: its whole environment; `default_environment` if None.
        session: whether it leads a new session, out of reach of a terminal's signals.

    Raises:
        FailedPreconditionError: the program is not there or cannot be executed.
        Error: the kernel refuses for another reason.
    """
    environment = default_environment() if env is None else env
    with contextlib.ExitStack() as copies:
        actions = list(_file_actions(fds or {}, copies))
        try:
            pid = os.posix_spawn(
                argv[0],
                tuple(argv),
                environment,
                file_actions=actions,
                setsid=session,
                setsigmask=(),
                setsigdef=_RESET,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise FailedPreconditionError(f"cannot start {argv[0]}: {error.strerror}") from error
        except (OSError, ValueError) as error:
            raise Error(f"cannot start {argv[0]}: {error}") from error
    try:
        return own_child(pid)
    except OSError as error:
        raise Error(f"cannot watch {argv[0]}: {error}") from error


def _file_actions(
    fds: Mapping[int, int], copies: contextlib.ExitStack
) -> Iterator[tuple[int, int, int] | tuple[int, int, str, int, int]]:
    for target in (0, 1, 2):
        if target not in fds:
            yield (os.POSIX_SPAWN_OPEN, target, os.devnull, os.O_RDWR, 0)
    lowest = max(fds, default=2) + 1
    for target, source in fds.items():
        if source < lowest:  # an earlier action may have overwritten it by then
            source = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, lowest)  # noqa: PLW2901 - same file
            copies.callback(os.close, source)
        yield (os.POSIX_SPAWN_DUP2, source, target)


@contextlib.asynccontextmanager
async def supervised(process: Process, *, grace: float = 5.0) -> AsyncIterator[Process]:
    """Own a process for the block, which ends when it does.

    However the block is left, the process is gone: TERM, `grace` seconds, KILL, reaped. Only one
    that hangs in the kernel is left to end by itself after as many seconds again.
    """
    try:
        yield process
        await process.wait()
    finally:
        if process.running:
            await finish(_stop(process, grace))


async def _stop(process: Process, grace: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await process.wait()
                return
    # In the kernel's hands: it is reaped when it ends, but nobody can be kept until then.
    _log.warning("process %d outlives SIGKILL", process.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a program ended: its code, negative for a signal, and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout: float = 60.0,
    limit: int = 1 << 20,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end; each stream is kept up to `limit` bytes.

    Raises:
        DeadlineExceededError: it took longer than `timeout` seconds and was killed.
        FailedPreconditionError: the program cannot be started.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(Streams(limit))
        fds = output.fds
        if stdin:
            fds[0] = stack.enter_context(memory_file(stdin))
        process = spawn(argv, fds=fds, env=env)
        output.started()
        try:
            async with asyncio.timeout(timeout), supervised(process, grace=0.5):
                await process.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"cannot run {' '.join(argv)[:_QUOTED]}: no end within {timeout:g} s"
            ) from error
        await output.drain()
        return Finished(
            code=process.code or 0, stdout=output.stdout.data, stderr=output.stderr.data
        )


@contextlib.contextmanager
def memory_file(data: bytes) -> Iterator[int]:
    """Give `data` as a readable descriptor: no writer to feed, no deadlock at any size."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        os.truncate(fd, len(data))
        os.pwrite(fd, data, 0)
        yield fd
    finally:
        os.close(fd)
