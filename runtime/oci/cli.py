"""Driving runc, crun and their kin by the command line they share.

One program start for each verb. Output is bounded, every start has a time limit, and a failure
quotes the runtime.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from functools import partial

from runtime.capture import Streams
from runtime.oci import ExecOutput, Handler
from runtime.oci.launch import Launch, Launcher
from runtime.oci.messages import plain
from runtime.operations import stage
from runtime.pidfd import shell_code
from runtime.process import Finished, run
from runtime.spec import Json, Resources
from store.errors import DeadlineExceededError, Error, FailedPreconditionError

Encode = Callable[[Resources], Mapping[str, Json]]


class OciCommandLine:
    """Implements `OciRuntime`.

    Args:
        launcher: starts the programs of `exec`.
        encode: turns limits into an OCI `linux.resources` object (`runtime.spec`).
        env: the environment runtimes start in; PATH alone if None.
        timeout: seconds that a verb other than exec may take.
    """

    def __init__(
        self,
        launcher: Launcher,
        encode: Encode,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._launcher = launcher
        self._encode = encode
        self._env = env
        self._timeout = timeout

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
        with Streams(limit) as output:
            launch = Launch(
                handler=handler,
                container_id=container_id,
                argv=argv,
                said=partial(_said, output),
                fds=output.fds,
                pipes=output.inodes,
                started=output.started,
            )
            code = await self._until_end(launch, timeout)
            await output.drain()
            return ExecOutput(
                stdout=output.stdout.data, stderr=output.stderr.data, exit_code=shell_code(code)
            )

    async def _until_end(self, launch: Launch, timeout: float) -> int:
        try:
            async with asyncio.timeout(timeout or None), self._launcher.program(launch) as program:
                code = await program.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"cannot exec in container {launch.container_id}: no end within {timeout:g} s, "
                "the program was killed with all it had started"
            ) from error
        if code is None:
            raise Error(f"cannot tell how exec in container {launch.container_id} ended")
        return code

    async def _run(
        self, handler: Handler, verb: str, *arguments: str, stdin: bytes = b""
    ) -> Finished:
        stage(f"{handler.binary.name} {verb}", arguments[-1])
        return await run(
            handler.argv(verb, *arguments), stdin=stdin, timeout=self._timeout, env=self._env
        )


async def _said(output: Streams) -> bytes:
    await output.drain()
    return output.stderr.data


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
