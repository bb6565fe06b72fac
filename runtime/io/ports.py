"""Connections to ports of pods, made inside their network namespaces without any process.

A socket belongs to the network namespace of the thread that made it, for good. So a thread that
lives for one call enters the namespace and makes the socket; everything after happens on the loop.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from runtime.io import Connection
from runtime.io.descriptors import DescriptorSink, DescriptorSource
from runtime.kernel.threads import in_thread
from store.errors import Error, FailedPreconditionError, UnavailableError

# Programs that listen on one family only are found on the other.
_LOOPBACKS: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_PATIENCE: Final = 10.0

FindNamespace = Callable[[str, str], Path | None]
"""From namespace and id of a sandbox to its network namespace's pin; None is the node's own."""


class PodPorts:
    """Implements `Ports`.

    Args:
        netns: finds where a pod's network is; raises NotFoundError or FailedPreconditionError.
    """

    def __init__(self, netns: FindNamespace) -> None:
        self._netns = netns

    @asynccontextmanager
    async def connect(
        self, namespace: str, sandbox_id: str, port: int
    ) -> AsyncIterator[Connection]:
        """See `Ports.connect`."""
        pin = self._netns(namespace, sandbox_id)
        what = f"cannot connect to port {port} of pod {sandbox_id}"
        connection = _Connection(await _connected(pin, port, what))
        try:
            yield connection
        finally:
            connection.end()


async def _connected(pin: Path | None, port: int, what: str) -> socket.socket:
    problems = []
    for family, address in _LOOPBACKS:
        made = await _socket(pin, family, what)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
        except (OSError, TimeoutError) as error:
            made.close()
            problems.append(f"{address}: {_reason(error)}")
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise UnavailableError(f"{what}: {'; '.join(problems)}")


async def _socket(pin: Path | None, family: socket.AddressFamily, what: str) -> socket.socket:
    make = partial(socket.socket, family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if pin is None:
            return make()
        return await blocking.run("enter network", str(pin), partial(in_thread, make, pin))
    except FileNotFoundError as error:
        raise FailedPreconditionError(f"{what}: its network is gone") from error
    except OSError as error:
        raise Error(f"{what}: {error}") from error


def _reason(error: OSError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_PATIENCE:g} s"
    return os.strerror(error.errno) if error.errno else str(error)


class _Connection:
    """Implements `Connection` over a connected socket, which it owns."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._ending = False
        self._source = DescriptorSource(connected.fileno(), release=_leave)
        self._sink = DescriptorSink(connected.fileno(), release=self._half_close)

    async def read(self) -> bytes:
        return await self._source.read()

    async def write(self, data: bytes) -> bool:
        return await self._sink.write(data)

    def abandon(self) -> None:
        self._source.abandon()

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def end(self) -> None:
        self._ending = True
        self._source.abandon()
        self._sink.close()
        self._socket.close()

    def _half_close(self) -> None:
        if not self._ending:  # the socket is closed next, perhaps with a reset
            with contextlib.suppress(OSError):  # the other side has gone
                self._socket.shutdown(socket.SHUT_WR)


def _leave() -> None:
    """Leave the descriptor to the socket."""
