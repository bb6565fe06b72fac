"""User namespaces of pods, made by a process that lives for a moment.

A thread cannot leave its user namespace while its process has others (unshare(2)), and a namespace
belongs to the user namespace of whoever made it. So one small process of the system's own programs
makes them all: unshare(1) makes them and becomes cat(1), which says so by an echo. It holds them
until they are pinned; if the daemon dies meanwhile it reads the end of its input, and ends. A
child of clone(2) in our own memory would take 1.4 ms instead of 3, but outlive a killed daemon
and hold its files and locks.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.kernel import IdRange, UserMapping, idmapped
from store.errors import DeadlineExceededError, Error, FailedPreconditionError

_TIMEOUT: Final = 10.0
_PROBED: Final = 65536
_SAID: Final = 4096
_ECHO: Final = b"\n"
_OPTIONS: Final = {"user": "--user", "net": "--net", "ipc": "--ipc", "uts": "--uts"}
_RESET: Final = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrograms:
    """Where unshare(1) and cat(1) are."""

    unshare: Path
    cat: Path


@contextlib.contextmanager
def held(programs: UserPrograms, mapping: UserMapping, kinds: Sequence[str] = ()) -> Iterator[Path]:
    """Make a user namespace, and others that it owns, for the block; for a thread.

    Yields:
        The directory in /proc with a link to each: `user` and `kinds`.

    Raises:
        FailedPreconditionError: the kernel makes none, or does not take the mapping.
        DeadlineExceededError: the programs hang.
    """
    with contextlib.ExitStack() as stack:
        holder = _Holder(stack)
        words = ["--", str(programs.cat)]
        argv = [str(programs.unshare), *(_OPTIONS[kind] for kind in ("user", *kinds)), *words]
        pid = holder.start(argv)
        stack.callback(_end, pid)
        holder.await_echo()
        _map(pid, "uid_map", mapping.uids)
        _map(pid, "gid_map", mapping.gids)
        yield Path(f"/proc/{pid}/ns")


def obstacle(programs: UserPrograms, directory: Path) -> str:
    """Return why pods cannot have user namespaces here; empty if they can. For a thread.

    Args:
        programs: what makes them.
        directory: where the layers of root filesystems are: a pod's must show its ids.
    """
    one = IdRange(first=_PROBED, length=1)
    try:
        with held(programs, UserMapping(uids=one, gids=one)) as made:
            if not idmapped.supported(directory, made / "user"):
                return f"the file system of {directory} has no idmapped mounts"
    except (Error, OSError) as error:
        return str(error)
    if not idmapped.overlays():
        return "overlays of idmapped layers need Linux 5.19"
    return ""


class _Holder:
    """The process' three streams; what is left open is closed with `stack`."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._child_ends = stack.enter_context(contextlib.ExitStack())
        stdin, self._in = os.pipe2(os.O_CLOEXEC)
        self._out, stdout = os.pipe2(os.O_CLOEXEC)
        self._errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        self._streams = (stdin, stdout, self._errors)
        for end in (self._in, self._out, self._errors):
            stack.callback(os.close, end)
        for end in (stdin, stdout):
            self._child_ends.callback(os.close, end)

    def start(self, argv: Sequence[str]) -> int:
        """Start the process; return its pid, which is to be reaped."""
        actions = [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in enumerate(self._streams)]
        try:
            pid = os.posix_spawn(
                argv[0], tuple(argv), {}, file_actions=actions, setsigmask=(), setsigdef=_RESET
            )
        except OSError as error:
            raise FailedPreconditionError(
                f"cannot make a user namespace: cannot start {argv[0]}: {error.strerror}"
            ) from error
        # Its ends must be its alone, so that each side sees the other one's death.
        self._child_ends.close()
        return pid

    def await_echo(self) -> None:
        """Return once the process has its namespaces."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._in, _ECHO)
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if not poll.poll(_TIMEOUT * 1000):
            raise DeadlineExceededError(f"cannot make a user namespace: not within {_TIMEOUT:g} s")
        if os.read(self._out, 1) != _ECHO:
            said = os.pread(self._errors, _SAID, 0).decode(errors="replace").strip()
            raise FailedPreconditionError(f"cannot make a user namespace: {said or 'no reason'}")


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _map(pid: int, name: str, ids: IdRange) -> None:
    try:
        Path(f"/proc/{pid}/{name}").write_text(f"0 {ids.first} {ids.length}\n", encoding="ascii")
    except OSError as error:
        raise FailedPreconditionError(
            f"cannot map {ids.length} ids from {ids.first} on into a user namespace ({name}): "
            f"{error.strerror}"
        ) from error
