"""Small things that tests of streams share."""

import os
import socket
from pathlib import Path

from runtime.io import Source


def connected(bundle: Path) -> socket.socket:
    """Connect to the attach socket in a bundle, as `Attachments` does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    directory = os.open(bundle, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{directory}/attach")
    finally:
        os.close(directory)
    return connection


async def drained(source: Source | None) -> bytes:
    """Return everything up to the end."""
    assert source is not None
    data = b""
    while piece := await source.read():
        data += piece
    return data


async def until(source: Source | None, end: bytes) -> bytes:
    """Return what comes up to and with `end`."""
    assert source is not None
    data = b""
    while not data.endswith(end):
        piece = await source.read()
        assert piece, f"ended after {data!r}"
        data += piece
    return data
