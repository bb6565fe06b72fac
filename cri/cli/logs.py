"""Reading a container's log file: the CRI format of Kubernetes, as conmon writes it."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from cri.api.runtime.v1 import api_pb2
from cri.cli.client import Client
from store.errors import FailedPreconditionError

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """One entry; `partial` ones are continued by the next of the same stream."""

    stamp: str
    stream: str
    partial: bool
    text: bytes


def parse(raw: bytes) -> Line | None:
    """Return the entry of one line without its newline, or None if it is not one."""
    fields = raw.split(b" ", 3)
    if len(fields) < 3:
        return None
    stamp, stream, tag = (field.decode(errors="replace") for field in fields[:3])
    text = fields[3] if len(fields) > 3 else b""
    return Line(stamp, stream, tag.split(":")[0] == "P", text)


def write(line: Line, *, timestamps: bool = False) -> None:
    """Print an entry to the stream it came from."""
    out = sys.stderr if line.stream == "stderr" else sys.stdout
    stamp = f"{line.stamp} ".encode() if timestamps else b""
    out.buffer.write(stamp + line.text + (b"" if line.partial else b"\n"))
    out.flush()


def tail(path: Path, count: int | None) -> list[bytes]:
    """Return the last `count` raw lines of a file, or all."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return lines if count is None else lines[len(lines) - min(count, len(lines)) :]


def grown(path: Path, offset: int) -> Iterator[bytes]:
    """Yield the complete lines after `offset`; each with its newline."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n"):
                yield line


async def status(client: Client, container: str) -> api_pb2.ContainerStatus:
    """Return a container's status."""
    request = api_pb2.ContainerStatusRequest(container_id=container)
    return (await client.runtime.ContainerStatus(request)).status


async def log_path(client: Client, container: str) -> Path:
    """Return where a container's log lies.

    Raises:
        FailedPreconditionError: it has none.
    """
    path = (await status(client, container)).log_path
    if not path:
        raise FailedPreconditionError(f"cannot read the log of {container}: it has none")
    return Path(path)


async def follow(
    client: Client, container: str, *, offset: int = 0, timestamps: bool = False
) -> int:
    """Print entries as they come until the container has ended; return its exit code."""
    path = await log_path(client, container)
    while True:
        try:
            now = await status(client, container)
        except grpc.RpcError:
            return 1
        if path.exists():
            if path.stat().st_size < offset:
                offset = 0  # rotated
            for raw in grown(path, offset):
                offset += len(raw)
                line = parse(raw[:-1])
                if line is not None:
                    write(line, timestamps=timestamps)
        if now.state == api_pb2.CONTAINER_EXITED:
            return now.exit_code
        await asyncio.sleep(_POLL)
