"""Starting programs in containers: runtimes launch them detached, and they are ours to wait for.

A runtime that stays in the foreground either copies the streams itself (runc) and then waits for
every background child, or hides how the program ended. So this process is a subreaper
(prctl(2), PR_SET_CHILD_SUBREAPER): what the runtime leaves behind becomes its child.
"""

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.kernel.syscalls import become_subreaper
from runtime.oci import Handler
from runtime.oci.messages import plain
from runtime.oci.privileges import exec_options
from runtime.pidfd import Process, identify, own_child, shell_code
from runtime.process import spawn
from runtime.rollback import finish
from runtime.tree import Tree
from store.errors import Error, FailedPreconditionError

_KINDS: Final = ("exec", "console")

_log = logging.getLogger(__name__)

# How long the kernel may take to bury a tree that was killed.
_BURIAL: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One program to launch.

    `fds` are the descriptors that runtime and program get; `started` lets go of our copies of the
    child's ends. `pipes` are the inodes by which the program's processes are known. `said` returns
    what the runtime wrote on its standard error, once it has failed.
    """

    handler: Handler
    container_id: str
    argv: tuple[str, ...]
    said: Callable[[], Awaitable[bytes]]
    options: tuple[str, ...] = ()
    fds: Mapping[int, int] = field(default_factory=dict)
    pipes: Collection[int] = ()
    started: Callable[[], None] = lambda: None

    def failure(self, why: str) -> str:
        """Return the text of an error."""
        return f"cannot exec {self.argv[0]!r} in container {self.container_id}: {why}"


class Launcher:
    """Launches programs. Making one makes this process a subreaper.

    Args:
        scratch: a directory of the daemon's own for short-lived files. One launcher for each.
        env: the environment runtimes start in; PATH alone if None.
    """

    def __init__(self, scratch: Path, env: Mapping[str, str] | None = None) -> None:
        self.scratch = scratch
        self._env = env
        self._numbers = itertools.count(1)
        for kind in _KINDS:
            for left in scratch.glob(f"{kind}-*"):  # by a daemon that was killed
                left.unlink(missing_ok=True)
        become_subreaper()

    def name(self, kind: str) -> str:
        """Return a name of a new file in `scratch`, which is cleared after a crash."""
        return f"{kind}-{os.getpid()}-{next(self._numbers)}"

    @asynccontextmanager
    async def program(self, launch: Launch) -> AsyncIterator[Process]:
        """Run a program for the block; leaving the block kills it with all it has started.

        Raises:
            FailedPreconditionError: the runtime refused; the text is its own message.
        """
        pid_file = self.scratch / self.name("exec")
        privileges = exec_options(launch.handler.root / launch.container_id)
        options = ("--detach", "--pid-file", str(pid_file), *privileges, *launch.options)
        words = launch.handler.argv("exec", *options, launch.container_id, *launch.argv)
        try:
            running = spawn(words, fds=launch.fds, env=self._env, session=True)
            launch.started()
            try:
                await running.wait()
                running = await _launched(launch, running, pid_file)
                yield running
            finally:
                if running.running:
                    await finish(_kill(launch, running))
        finally:
            pid_file.unlink(missing_ok=True)


async def _launched(launch: Launch, launcher: Process, pid_file: Path) -> Process:
    if launcher.code:
        said = plain(await launch.said()) or f"exit code {shell_code(launcher.code)}"
        raise FailedPreconditionError(launch.failure(said))
    try:
        return own_child(int(pid_file.read_text()))  # noqa: ASYNC240 - on a tmpfs, a few bytes
    except (OSError, ValueError) as error:
        raise Error(launch.failure(f"the runtime left no process: {error}")) from error


async def _kill(launch: Launch, running: Process) -> None:
    left = await asyncio.to_thread(Tree(identify(running.pid), launch.pipes).kill, _BURIAL)
    if left:  # in the kernel's hands; they are reaped when they end
        _log.warning("exec in container %s: %s outlive SIGKILL", launch.container_id, left)
    else:
        await running.wait()
