"""A program's terminal: its master comes to us through the runtime's console socket.

The runtime makes the terminal inside the container and sends the master's descriptor, for which it
connects to the socket named by `--console-socket` (unix(7), SCM_RIGHTS).
"""

import contextlib
import fcntl
import os
import socket
import struct
import termios
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from runtime.capture import Capture
from runtime.io import Size
from runtime.io.descriptors import DescriptorSink, DescriptorSource
from store.errors import Error, ResourceExhaustedError

# How much of what the runtime says about a program that did not start is kept.
_WORDS: Final = 4096


class Console:
    """A terminal for one program, for the block.

    Args:
        scratch: where the socket lies while the runtime needs it.
        name: the socket's.
    """

    pipes: tuple[int, ...] = ()
    stderr = None

    def __init__(self, scratch: Path, name: str) -> None:
        self._scratch = scratch
        self._name = name
        self._stack = contextlib.ExitStack()
        self._master = -1
        self.fds: dict[int, int] = {}
        self.options: tuple[str, ...] = ()
        self.stdin: DescriptorSink | None = None
        self.stdout: DescriptorSource | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            try:
                self._listen(stack)
            except OSError as error:
                raise ResourceExhaustedError(f"cannot make a terminal: {error}") from error
            self._words = stack.enter_context(contextlib.closing(Capture(_WORDS)))
            self.fds[2] = self._words.writer
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def started(self) -> None:
        """Close the child's ends on our side."""
        self._words.started()

    async def said(self) -> bytes:
        """Return what a runtime that ended wrote on its stderr."""
        await self._words.drain()
        return self._words.data

    def opened(self) -> None:
        """Take the terminal, once the runtime has started the program.

        Raises:
            Error: the runtime has sent none.
        """
        try:
            self._master = _received(self._socket)
        except OSError as error:
            raise Error(f"cannot use the terminal: the runtime sent none: {error}") from error
        self._stack.callback(os.close, self._master)
        # One descriptor for both directions, closed by neither.
        self.stdout = DescriptorSource(self._master, release=_leave)
        self._stack.callback(self.stdout.abandon)
        self.stdin = DescriptorSink(self._master, release=_leave)
        self._stack.callback(self.stdin.close)

    def finish(self) -> None:
        """Say that the program has ended."""
        if self.stdout is not None:
            self.stdout.finish()

    def resize(self, size: Size) -> None:
        """Set the size; whoever runs in the foreground is told by SIGWINCH (tty_ioctl(4))."""
        with contextlib.suppress(OSError):  # the terminal is gone: so is who would see it
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, packed(size))

    def _listen(self, stack: contextlib.ExitStack) -> None:
        directory = os.open(self._scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        # A path through our own descriptor of the directory is never too long for a socket.
        path = f"/proc/{os.getpid()}/fd/{directory}/{self._name}"
        self._socket = stack.enter_context(
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        )
        self._socket.bind(path)
        stack.callback(os.unlink, path)
        self._socket.listen(1)
        self.options = ("--tty", "--console-socket", path, "--env", "TERM=xterm")


def packed(size: Size) -> bytes:
    """Return a size as the kernel's struct winsize."""
    return struct.pack("HHHH", _bounded(size.height), _bounded(size.width), 0, 0)


def _bounded(number: int) -> int:
    return min(max(number, 0), 0xFFFF)


def _received(listener: socket.socket) -> int:
    peer, _ = listener.accept()
    with peer:
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        _, fds, _, _ = socket.recv_fds(peer, _WORDS, 1, flags)
    if not fds:
        raise OSError("no descriptor in its message")
    return fds[0]


def _leave() -> None:
    """Leave the descriptor to the console."""
