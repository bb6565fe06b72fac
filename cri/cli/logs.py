"""Printing a container's log, now and as it grows."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cri.cli.logfile import Entry, Reader
from store.errors import FailedPreconditionError, NotFoundError

if TYPE_CHECKING:
    from cri.cli.daemon import Daemon

Write = Callable[[Entry], None]

# CRI has no event for "a line was written".
_POLL: Final = 0.1
_EXITED: Final = 2  # CONTAINER_EXITED


def writer(*, timestamps: bool = False, as_json: bool = False) -> Write:
    """Return what prints an entry: to the stream it came from, or as one JSON object a line."""

    def plain(entry: Entry) -> None:
        out = sys.stderr if entry.stream == "stderr" else sys.stdout
        stamp = f"{entry.stamp} ".encode() if timestamps else b""
        out.flush()
        out.buffer.write(stamp + entry.text + (b"" if entry.partial else b"\n"))
        out.buffer.flush()

    def document(entry: Entry) -> None:
        found = {
            "time": entry.stamp,
            "stream": entry.stream,
            "partial": entry.partial,
            "text": entry.text.decode(errors="replace"),
        }
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    return document if as_json else plain


async def log_of(daemon: "Daemon", container: str) -> Path:
    """Return where a container's log lies.

    Raises:
        FailedPreconditionError: it has none.
    """
    path = (await daemon.container(container)).log_path
    if not path:
        raise FailedPreconditionError(
            f"cannot read the log of {container}: it was made without one (no log_path)"
        )
    return Path(path)


def show(reader: Reader, write: Write) -> None:
    """Print what a log has and was not printed yet."""
    for entry in reader.entries():
        write(entry)


async def follow(daemon: "Daemon", container: str, reader: Reader, write: Write) -> int | None:
    """Print a log as it grows until the container has ended; return its exit code.

    A daemon that is restarted meanwhile is waited for. None if the container was removed.
    """
    while True:
        try:
            status = await daemon.container(container)
        except NotFoundError:
            show(reader, write)
            return None
        show(reader, write)
        if status.state == _EXITED:
            return status.exit_code
        await asyncio.sleep(_POLL)
