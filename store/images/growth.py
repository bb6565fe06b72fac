"""A blob on its way, which others read while it grows."""

import asyncio
from pathlib import Path

from store.images import Follow


class Growth:
    """How much of a blob is there. One task says so, any number of others follow.

    `path` is where the bytes lie now; it changes once, when the blob is published. `kept` tells
    that it was there before and nobody looked at its bytes.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.kept = False
        self._valid = 0
        self._complete = False
        self._published = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        state = "failed" if self._error else "published" if self._published else "growing"
        return f"<Growth of {self.path}: {self._valid} bytes, {state}>"

    def advance(self, path: Path, valid: int, *, complete: bool) -> None:
        """Say that `valid` bytes are there, and whether these are all."""
        self.path, self._valid, self._complete = path, valid, complete
        self._wake()

    def publish(self, path: Path, size: int, *, kept: bool = False) -> None:
        """Say that the blob is in content, at `path`."""
        self._published, self.kept = True, kept
        self.advance(path, size, complete=True)

    def fail(self, error: Exception) -> None:
        """Say that no more will come; whoever follows gets `error`."""
        self._error = error
        self._wake()

    def follow(self) -> Follow:
        """Return a new reader's way of waiting for more."""
        seen = 0

        async def more() -> tuple[int, bool]:
            nonlocal seen
            while self._error is None and not self._complete and self._valid <= seen:
                await self._changed.wait()
            if self._error is not None:
                raise self._error
            seen = self._valid
            return self._valid, self._complete

        return more

    async def began(self) -> Path:
        """Wait until there is a file, and return where; raises what ended it early."""
        while self.path is None and self._error is None:
            await self._changed.wait()
        if self._error is not None or self.path is None:
            raise self._error or RuntimeError("a growth began without a path")
        return self.path

    async def settled(self) -> Exception | None:
        """Wait for the verdict: None if the blob is published, or why not."""
        while self._error is None and not self._published:
            await self._changed.wait()
        return self._error

    async def published(self) -> None:
        """Wait until the blob is published; raises why it never will be."""
        error = await self.settled()
        if error is not None:
            raise error

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
