"""Driving runc, crun and their kin by the command line they share.

One program start for each verb. Output is bounded, every start has a time limit, and a failure
quotes the runtime.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.capture import Streams
from runtime.kernel.syscalls import become_subreaper
from runtime.oci import ExecOutput, Handler
from runtime.oci.messages import plain
from runtime.oci.privileges import exec_options
from runtime.operations import stage
from runtime.pidfd import Process, identify, own_child, shell_code
from runtime.process import Finished, run, spawn
from runtime.rollback import finish
from runtime.spec import Json, Resources
from runtime.tree import Tree
from store.errors import DeadlineExceededError, Error, FailedPreconditionError

Encode = Callable[[Resources], Mapping[str, Json]]

_log = logging.getLogger(__name__)

# How long the kernel may take to bury a tree that was killed.
_BURIAL = 2.0


class OciCommandLine:
    """Implements `OciRuntime`. Making one makes this process a subreaper.

    Exec needs that: a runtime that stays in the foreground either copies the streams itself (runc)
    and then waits for every background child, or hides how the program ended.

    Args:
        scratch: a directory of the daemon's own for short-lived pid files.
        encode: turns limits into an OCI `linux.resources` object (`runtime.spec`).
        env: the environment runtimes start in; PATH alone if None.
        timeout: seconds that a verb other than exec may take.
    """

    def __init__(
        self,
        scratch: Path,
        encode: Encode,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._scratch = scratch
        self._encode = encode
        self._env = env
        self._timeout = timeout
        self._numbers = itertools.count(1)
        for left in scratch.glob("exec-*"):  # by a daemon that was killed
            left.unlink(missing_ok=True)
        become_subreaper()

    async def start(self, handler: Handler, container_id: str) -> None:
        """See `OciRuntime.start`."""
        result = await self._run(handler, "start", container_id)
        if result.code != 0:
            raise _refused("start", handler, container_id, result)

    def started(self, handler: Handler, container_id: str) -> bool:
        """See `OciRuntime.started`: the FIFO at which a created container waits is gone."""
        return not (handler.root / container_id / "exec.fifo").exists()

    async def delete(self, handler: Handler, container_id: str, *, force: bool = False) -> None:
        """See `OciRuntime.delete`; starts nothing if the runtime keeps nothing."""
        if not _kept(handler, container_id):
            return
        options = ("--force",) if force else ()
        result = await self._run(handler, "delete", *options, container_id)
        if result.code != 0 and _kept(handler, container_id):
            raise _refused("delete", handler, container_id, result)

    async def update(self, handler: Handler, container_id: str, resources: Resources) -> None:
        """See `OciRuntime.update`."""
        limits = json.dumps(dict(self._encode(resources))).encode()
        result = await self._run(handler, "update", "--resources", "-", container_id, stdin=limits)
        if result.code != 0:
            raise _refused("update", handler, container_id, result)

    async def exec(
        self,
        handler: Handler,
        container_id: str,
        argv: tuple[str, ...],
        *,
        timeout: float,
        limit: int,
    ) -> ExecOutput:
        """See `OciRuntime.exec`."""
        stage("exec", container_id)
        pid_file = self._scratch / f"exec-{os.getpid()}-{next(self._numbers)}"
        options = (
            "--detach",
            "--pid-file",
            str(pid_file),
            *exec_options(handler.root / container_id),
        )
        command = handler.argv("exec", *options, container_id, *argv)
        with contextlib.ExitStack() as stack:
            stack.callback(pid_file.unlink, missing_ok=True)
            output = stack.enter_context(Streams(limit))
            launcher = spawn(command, fds=output.fds, env=self._env, session=True)
            output.started()
            code = await _Exec(container_id, argv[0], pid_file, output).run(launcher, timeout)
            await output.drain()
            return ExecOutput(
                stdout=output.stdout.data, stderr=output.stderr.data, exit_code=shell_code(code)
            )

    async def _run(
        self, handler: Handler, verb: str, *arguments: str, stdin: bytes = b""
    ) -> Finished:
        stage(f"{handler.binary.name} {verb}", arguments[-1])
        return await run(
            handler.argv(verb, *arguments), stdin=stdin, timeout=self._timeout, env=self._env
        )


@dataclass(frozen=True, slots=True)
class _Exec:
    """One exec: the runtime launches the program and leaves it to us, who are its subreaper."""

    container_id: str
    program: str
    pid_file: Path
    output: Streams

    async def run(self, launcher: Process, timeout: float) -> int:
        """Return the program's code; on any other way out nothing that was started is left."""
        running = launcher
        try:
            async with asyncio.timeout(timeout or None):
                await launcher.wait()
                running = await self._launched(launcher)
                code = await running.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"cannot exec in container {self.container_id}: no end within {timeout:g} s, "
                "the program was killed with all it had started"
            ) from error
        finally:
            if running.running:
                await finish(self._kill(running))
        if code is None:
            raise Error(f"cannot tell how exec in container {self.container_id} ended")
        return code

    async def _launched(self, launcher: Process) -> Process:
        if launcher.code:
            await self.output.drain()
            said = plain(self.output.stderr.data) or f"exit code {shell_code(launcher.code)}"
            raise FailedPreconditionError(
                f"cannot exec {self.program!r} in container {self.container_id}: {said}"
            )
        try:
            return own_child(int(self.pid_file.read_text()))
        except (OSError, ValueError) as error:
            raise Error(
                f"cannot exec {self.program!r} in container {self.container_id}: "
                f"the runtime left no process: {error}"
            ) from error

    async def _kill(self, running: Process) -> None:
        tree = Tree(identify(running.pid), self.output.inodes)
        left = await asyncio.to_thread(tree.kill, _BURIAL)
        if left:  # in the kernel's hands; they are reaped when they end
            _log.warning("exec in container %s: %s outlive SIGKILL", self.container_id, left)
        else:
            await running.wait()


def _kept(handler: Handler, container_id: str) -> bool:
    """Whether the runtime keeps anything of the container; all name it after the id.

    runc, crun and youki make a directory; runsc a file such as `SANDBOX_sandbox:ID.state`.
    """
    if (handler.root / container_id).exists():
        return True
    name = re.compile(rf"(.*[_:])?{re.escape(container_id)}\.state")
    try:
        return any(name.fullmatch(entry.name) for entry in handler.root.iterdir())
    except FileNotFoundError:
        return False


def _refused(verb: str, handler: Handler, container_id: str, result: Finished) -> Error:
    said = plain(result.stderr) or plain(result.stdout)
    message = said or f"{handler.binary.name} ended with {shell_code(result.code)} without a word"
    return FailedPreconditionError(f"cannot {verb} container {container_id}: {message}")
