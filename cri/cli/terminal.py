"""This side's terminal, or what stands in its place, for a session with a program elsewhere."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 16

Take = Callable[[bytes], Awaitable[bool]]
"""Takes input, nothing at its end; False if nobody wants more."""


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Pass every key on as it is for the block; what is no terminal stays as it is."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is for the program, too
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def sizes(fd: int, tell: Callable[[os.terminal_size], None]) -> Iterator[None]:
    """Tell a terminal's size now and whenever it changes in the block (SIGWINCH)."""

    def look() -> None:
        with contextlib.suppress(OSError):  # no terminal, or none any more
            tell(os.get_terminal_size(fd))

    look()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, look)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def read_input(fd: int, take: Take) -> None:
    """Hand over what is typed or piped in, from a thread that ends with the process.

    Nothing else reads a terminal, a pipe and a file alike and leaves their flags alone, which are
    the shell's, too.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the command has ended meanwhile
            while True:
                data = os.read(fd, _CHUNK)
                wants = asyncio.run_coroutine_threadsafe(_taken(take, data), loop).result()
                if not (data and wants):
                    return

    threading.Thread(target=read, name="input", daemon=True).start()


async def _taken(take: Take, data: bytes) -> bool:
    return await take(data)


class Output:
    """Implements `Sink` over a file of this process.

    Args:
        stream: writes each piece as JSON that names this stream; as it is if empty.
    """

    def __init__(self, file: BinaryIO, stream: str = "") -> None:
        self._file = file
        self._stream = stream

    async def write(self, data: bytes) -> bool:
        """See `Sink.write`; raises OSError where nobody reads us, which ends the command."""
        self._file.write(self._said(data))
        self._file.flush()
        return True

    def close(self) -> None:
        """Leave the file open: it is the process's."""

    def _said(self, data: bytes) -> bytes:
        if not self._stream:
            return data
        piece = {"stream": self._stream, "text": data.decode(errors="replace")}
        return json.dumps(piece).encode() + b"\n"


def outputs(*, as_json: bool) -> tuple[Output, Output]:
    """Return standard output and standard error; as JSON both go to standard output."""
    if as_json:
        return Output(sys.stdout.buffer, "stdout"), Output(sys.stdout.buffer, "stderr")
    return Output(sys.stdout.buffer), Output(sys.stderr.buffer)
