"""Sessions with running programs: this side's terminal joined with theirs, and ports."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from cri.cli.terminal import outputs, raw, read_input, sizes
from cri.streaming.dial import COMMAND, FORWARD, dialled, everything, opened
from cri.streaming.spdy_streams import SpdyStream
from cri.streaming.status import Outcome
from runtime.io import Sink, Wanted
from runtime.io.copying import copy
from runtime.io.descriptors import DescriptorSink, DescriptorSource
from runtime.io.feed import Feed
from store.errors import Error, UnavailableError

_STDIN: Final = 0
_LOOPBACK: Final = "127.0.0.1"

Ask = Callable[[], Awaitable[str]]
"""Asks the daemon for a session's URL."""


async def converse(url: str, wanted: Wanted, *, as_json: bool = False) -> int:
    """Join this process's streams with a session's; return the program's exit code.

    Raises:
        Error: the session could not begin, or broke off.
        OSError: nobody reads our output any more; the program is killed.
    """
    said, broken = b"", None
    with raw(_STDIN) if wanted.terminal and wanted.stdin else contextlib.nullcontext():
        try:
            said = await _joined(url, wanted, *outputs(as_json=as_json))
        except* OSError as errors:
            broken = errors.exceptions[0]
    if broken is not None:
        raise broken
    if not said:
        raise UnavailableError("cannot go on: the session broke off")
    outcome = Outcome.read(said)
    if outcome.error:
        raise Error(outcome.error)
    return outcome.code


async def _joined(url: str, wanted: Wanted, stdout: Sink, stderr: Sink) -> bytes:
    """Copy until the session ends; return what its error stream said."""
    changes = Feed()
    with _told(changes) if wanted.terminal else contextlib.nullcontext():
        async with dialled(url, COMMAND) as streams, asyncio.TaskGroup() as group:
            running = group.create_task(streams.run())
            error = opened(streams, "error")
            if wanted.stdin:
                read_input(_STDIN, _into(opened(streams, "stdin")))
            copies = [group.create_task(copy(opened(streams, "stdout"), stdout))]
            if wanted.stderr:
                copies.append(group.create_task(copy(opened(streams, "stderr"), stderr)))
            if wanted.terminal:
                group.create_task(copy(changes, opened(streams, "resize")))
            said = await everything(error)
            await asyncio.wait(copies)
            changes.end()
            running.cancel()
    return said


def _into(stdin: SpdyStream) -> Callable[[bytes], Awaitable[bool]]:
    async def take(data: bytes) -> bool:
        if data:
            return await stdin.write(data)
        stdin.close()
        return False

    return take


def _told(changes: Feed) -> contextlib.AbstractContextManager[None]:
    """Push each size of our terminal as a client of Kubernetes says it."""

    def tell(size: os.terminal_size) -> None:
        changes.push(json.dumps({"Width": size.columns, "Height": size.lines}).encode())

    return sizes(_STDIN, tell)


async def forward(local: int, port: int, ask: Ask, listening: Callable[[int], None]) -> None:
    """Listen on a port of this node's loopback, and connect each client with a pod's port.

    `listening` is told which port it is: `local` 0 takes any that is free.

    Raises:
        UnavailableError: the port cannot be had.
    """
    try:
        listener = socket.create_server((_LOOPBACK, local))
    except OSError as error:
        raise UnavailableError(f"cannot listen on {_LOOPBACK}:{local}: {error}") from error
    with listener:
        listener.setblocking(False)  # noqa: FBT003 - its only parameter
        listening(listener.getsockname()[1])
        async with asyncio.TaskGroup() as group:
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(listener)
                group.create_task(_connected(client, port, ask))


async def _connected(client: socket.socket, port: int, ask: Ask) -> None:
    with client:
        try:
            why = await _through(client, port, await ask())
        except Error as error:
            why = str(error)
    if why:
        sys.stderr.write(f"{why}\n")


async def _through(client: socket.socket, port: int, url: str) -> str:
    """Copy both ways until both have ended; return what the pod's side complained of."""
    headers = {"port": str(port), "requestid": "0"}
    with _ends(client) as (source, sink):
        async with dialled(url, FORWARD) as streams, asyncio.TaskGroup() as group:
            running = group.create_task(streams.run())
            error, data = (opened(streams, kind, headers) for kind in ("error", "data"))
            error.close()
            sending = group.create_task(copy(source, data))
            data.when_over(lambda: _cancel(sending))
            await copy(data, sink)
            said = await everything(error)
            running.cancel()
    return said.decode(errors="replace")


def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()


@contextlib.contextmanager
def _ends(client: socket.socket) -> Iterator[tuple[DescriptorSource, DescriptorSink]]:
    source = DescriptorSource(client.fileno(), release=lambda: None)
    sink = DescriptorSink(client.fileno(), release=lambda: _no_more(client))
    try:
        yield source, sink
    finally:
        source.abandon()
        sink.close()


def _no_more(client: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client has gone
        client.shutdown(socket.SHUT_WR)
