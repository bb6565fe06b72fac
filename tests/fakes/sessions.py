"""Programs' streams without containers: coroutines behind real pipes, terminals and sockets.

What clients hold is production code (`Pipes`, `Attachments`); what runs behind it knows the
programs of `tests.programs` by heart.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.io import AttachRequest, ExecRequest, Session, Sink, Size, Source, Wanted
from runtime.io.attach import Attachments
from runtime.io.console import packed
from runtime.io.copying import copy
from runtime.io.descriptors import DescriptorSink, DescriptorSource
from runtime.io.pipes import Pipes
from runtime.tasks import State, Task
from store.errors import FailedPreconditionError, NotFoundError
from tests import programs
from tests.fakes.monitor_socket import STDERR, MonitorSocket


class FakeSessions:
    """Implements `Sessions`. `running` counts the programs of execs that have not ended."""

    def __init__(self, path: Path) -> None:
        self.running = 0
        self._changed = asyncio.Event()
        self._path = path
        self._tasks: dict[str, Task] = {}
        self._monitors: dict[str, MonitorSocket] = {}
        self._attachments = Attachments()
        self._group = asyncio.TaskGroup()
        self._own: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for id_ in tuple(self._monitors):
            self.stop(id_)
        self._attachments.close()
        for task in self._own:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def start(
        self, id_: str, argv: tuple[str, ...], *, terminal: bool = False, once: bool = False
    ) -> None:
        """Run a container."""
        bundle = self._path / id_
        bundle.mkdir()
        monitor = MonitorSocket(bundle, once=once)
        self._monitors[id_] = monitor
        self._tasks[id_] = Task(
            namespace="test",
            id=id_,
            handler="fake",
            bundle=bundle,
            directory=bundle,
            state=State.RUNNING,
            terminal=terminal,
            stdin=True,
            stdin_once=once,
        )
        self._own.append(self._group.create_task(self._container(id_, monitor, argv)))

    async def until_joined(self, id_: str) -> None:
        """Return once somebody has attached to a container."""
        await self._monitors[id_].joined.wait()

    def stop(self, id_: str) -> None:
        """End a container."""
        self._monitors.pop(id_).end()

    @asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[Session]:
        """See `Sessions.exec`."""
        self._task(request.container_id)
        if request.argv == programs.MISSING:
            raise FailedPreconditionError(f"cannot exec {request.argv[0]!r}: it is not there")
        opening = _terminal() if request.wanted.terminal else _pipes(request.wanted)
        async with opening as (session, ends), asyncio.TaskGroup() as group:
            self._count(1)
            program = group.create_task(_program(request.argv, ends))
            program.add_done_callback(self._ended)
            session.program = program
            try:
                yield session
            finally:
                program.cancel()

    @asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[Session]:
        """See `Sessions.attach`."""
        task = self._task(request.container_id)
        if task.terminal is not request.wanted.terminal:
            raise FailedPreconditionError(f"cannot attach to container {task.id}: tty does not fit")
        async with self._attachments.attach(task, request.wanted) as session:
            yield session

    async def until_running(self, count: int) -> None:
        """Return once so many programs run."""
        async with asyncio.timeout(10):
            while self.running != count:
                self._changed.clear()
                await self._changed.wait()

    def _ended(self, _: object) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        self.running += change
        self._changed.set()

    def _task(self, id_: str) -> Task:
        if id_ not in self._tasks:
            raise NotFoundError(f"there is no task {id_}")
        if id_ not in self._monitors:
            raise FailedPreconditionError(f"container {id_} does not run")
        return self._tasks[id_]

    async def _container(self, id_: str, monitor: MonitorSocket, argv: tuple[str, ...]) -> None:
        if argv == programs.SHOUT:
            await monitor.joined.wait()
            while True:
                await monitor.write(b"0123456789\n" * 700)
                await asyncio.sleep(0)
        while data := await monitor.input.read():
            for line in data.split(b"\n")[:-1]:
                await monitor.write(b"got %s\n" % line)
                await monitor.write(b"err %s\n" % line, STDERR)
        if id_ in self._monitors:
            self.stop(id_)


@dataclass(slots=True)
class _Ends:
    """A program's own ends of its streams."""

    stdin: Source | None
    stdout: Sink | None
    stderr: Sink | None
    terminal: int = -1

    def close(self) -> None:
        """Let go of them, as a program's end does."""
        if self.stdin is not None:
            self.stdin.abandon()
        for sink in (self.stdout, self.stderr):
            if sink is not None:
                sink.close()
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


class _Session:
    """Implements `Session`."""

    def __init__(
        self, stdin: Sink | None, stdout: DescriptorSource | None, stderr: DescriptorSource | None
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.on_resize: Callable[[Size], None] = lambda _: None
        self.program: asyncio.Task[int]

    def resize(self, size: Size) -> None:
        self.on_resize(size)

    async def wait(self) -> int:
        code = await asyncio.shield(self.program)
        for source in (self.stdout, self.stderr):
            if source is not None:
                source.finish()
        return code


@asynccontextmanager
async def _pipes(wanted: Wanted) -> AsyncIterator[tuple[_Session, _Ends]]:
    with Pipes(wanted) as pipes:
        theirs = {number: os.dup(fd) for number, fd in pipes.fds.items()}
        pipes.started()
        ends = _Ends(
            stdin=DescriptorSource(theirs[0]) if 0 in theirs else None,
            stdout=DescriptorSink(theirs[1]) if 1 in theirs else None,
            stderr=DescriptorSink(theirs[2]),
        )
        try:
            yield _Session(pipes.stdin, pipes.stdout, pipes.stderr), ends
        finally:
            ends.close()


@asynccontextmanager
async def _terminal() -> AsyncIterator[tuple[_Session, _Ends]]:
    async with AsyncExitStack() as stack:
        master, slave = pty.openpty()
        stack.callback(os.close, master)
        source = DescriptorSource(master, release=_leave)
        stack.callback(source.abandon)
        sink = DescriptorSink(master, release=_leave)
        stack.callback(sink.close)
        ends = _Ends(
            stdin=DescriptorSource(os.dup(slave)),
            stdout=DescriptorSink(os.dup(slave)),
            stderr=None,
            terminal=slave,
        )
        stack.callback(ends.close)
        session = _Session(sink, source, None)

        def resize(size: Size) -> None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(master, termios.TIOCSWINSZ, packed(size))

        session.on_resize = resize
        yield session, ends


def _leave() -> None:
    """Leave the descriptor to whoever opened it."""


async def _program(argv: tuple[str, ...], ends: _Ends) -> int:
    """Do what a program of `tests.programs` does, and return its code."""
    try:
        if argv == programs.HANG:
            await asyncio.Event().wait()
        if argv == programs.CAT and ends.stdin and ends.stdout:
            await copy(ends.stdin, ends.stdout)
        await _say(argv, ends)
        codes = {programs.FAIL: 5, programs.DIE: 137, programs.MEASURE: 4}
        return codes.get(argv, 0)
    finally:
        ends.close()


async def _say(argv: tuple[str, ...], ends: _Ends) -> None:
    out, err = ends.stdout, ends.stderr
    if argv == programs.MEASURE and ends.stdin and out:
        await ends.stdin.read()
        rows, columns, _, _ = struct.unpack(
            "HHHH", fcntl.ioctl(ends.terminal, termios.TIOCGWINSZ, bytes(8))
        )
        await out.write(f"{rows} {columns}\n".encode())
    if argv == programs.SPEAK and out:
        await out.write(b"out\n")
    if argv == programs.SPEAK and err:
        await err.write(b"err\n")
    if argv == programs.FLOOD and out:
        await out.write((b"0123456789\n" * programs.FLOOD_BYTES)[: programs.FLOOD_BYTES])
    if argv == programs.SHOUT and out:
        await _shout(out)


async def _shout(out: Sink) -> None:
    wanted = True
    while wanted:
        wanted = await out.write(b"0123456789\n" * 100)
        await asyncio.sleep(0)
