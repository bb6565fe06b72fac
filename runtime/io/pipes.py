"""A program's stdin, stdout and stderr as pipes."""

import contextlib
import fcntl
import os
from types import TracebackType
from typing import Final, Self

from runtime.capture import Capture
from runtime.io import Size, Wanted
from runtime.io.descriptors import CHUNK, DescriptorSink, DescriptorSource
from store.errors import ResourceExhaustedError

# How much of what the runtime says about a program that did not start is kept.
_WORDS: Final = 4096


class Pipes:
    """The pipes of one program, for the block; what is not wanted is /dev/null.

    A stderr that nobody wants is read all the same: the runtime explains itself there.
    """

    options: tuple[str, ...] = ()

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._theirs: list[int] = []
        self._words: Capture | None = None
        self.fds: dict[int, int] = {}
        self.pipes: list[int] = []
        self.stdin: DescriptorSink | None = None
        self.stdout: DescriptorSource | None = None
        self.stderr: DescriptorSource | None = None

    def __enter__(self) -> Self:
        try:
            if self._wanted.stdin:
                self.stdin = DescriptorSink(self._pipe(0))
            if self._wanted.stdout:
                self.stdout = DescriptorSource(self._pipe(1))
            if self._wanted.stderr:
                self.stderr = DescriptorSource(self._pipe(2))
            else:
                self._words = Capture(_WORDS)
                self.fds[2] = self._words.writer
        except OSError as error:
            self.close()
            raise ResourceExhaustedError(f"cannot make a pipe: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every end."""
        self.started()
        for end in (self.stdin, self._words):
            if end is not None:
                end.close()
        for source in (self.stdout, self.stderr):
            if source is not None:
                source.abandon()

    def started(self) -> None:
        """Close the child's ends on our side, so that ends can be seen."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs.clear()
        if self._words is not None:
            self._words.started()

    async def said(self) -> bytes:
        """Return what a runtime that ended wrote on its stderr."""
        if self.stderr is not None:
            self.stderr.finish()
            return await self.stderr.read()
        if self._words is None:
            return b""
        await self._words.drain()
        return self._words.data

    def opened(self) -> None:
        """Nothing more is needed once the program runs."""

    def resize(self, size: Size) -> None:
        """Pipes have no size."""

    def finish(self) -> None:
        """Say that the program has ended."""
        for source in (self.stdout, self.stderr):
            if source is not None:
                source.finish()

    def _pipe(self, number: int) -> int:
        """Make the pipe for the child's descriptor `number`; return our end."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        ours, theirs = (writer, reader) if number == 0 else (reader, writer)
        self._theirs.append(theirs)
        self.fds[number] = theirs
        with contextlib.suppress(OSError):  # the user's limit for pipes: it is only slower
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, CHUNK)
        if number:
            self.pipes.append(os.fstat(ours).st_ino)
        return ours
