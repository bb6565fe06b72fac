"""Programs that clients run in containers, with their streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.io import ExecRequest, Session, Sink, Size, Source
from runtime.io.console import Console
from runtime.io.pipes import Pipes
from runtime.oci import Handler
from runtime.oci.launch import Launch, Launcher
from runtime.operations import stage
from runtime.pidfd import Process, shell_code
from store.errors import Error, InvalidArgumentError


class Execs:
    """Runs programs; no process of ours stays beside them."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    @asynccontextmanager
    async def run(self, handler: Handler, request: ExecRequest) -> AsyncIterator[Session]:
        """Run a program for the block; see `Sessions.exec`.

        Raises:
            InvalidArgumentError: there is no program in the request.
            FailedPreconditionError: the runtime refused; the text is its own message.
        """
        if not request.argv:
            raise InvalidArgumentError(f"cannot exec in {request.container_id}: cmd is empty")
        stage("exec", request.container_id)
        wanted = request.wanted
        with self._console() if wanted.terminal else Pipes(wanted) as stdio:
            launch = Launch(
                handler=handler,
                container_id=request.container_id,
                argv=request.argv,
                options=stdio.options,
                said=stdio.said,
                fds=stdio.fds,
                pipes=stdio.pipes,
                started=stdio.started,
            )
            async with self._launcher.program(launch) as program:
                stdio.opened()
                stage("streams", request.container_id)
                yield _Running(request, stdio, program)

    def _console(self) -> Console:
        return Console(self._launcher.scratch, self._launcher.name("console"))


class _Running:
    """Implements `Session`."""

    def __init__(self, request: ExecRequest, stdio: Console | Pipes, program: Process) -> None:
        self._request = request
        self._stdio = stdio
        self._program = program

    @property
    def stdin(self) -> Sink | None:
        return self._stdio.stdin if self._request.wanted.stdin else None

    @property
    def stdout(self) -> Source | None:
        return self._stdio.stdout

    @property
    def stderr(self) -> Source | None:
        return self._stdio.stderr

    def resize(self, size: Size) -> None:
        self._stdio.resize(size)

    async def wait(self) -> int:
        code = await self._program.wait()
        self._stdio.finish()
        if code is None:
            raise Error(f"cannot tell how exec in {self._request.container_id} ended")
        return shell_code(code)
