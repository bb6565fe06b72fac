"""One open write: bytes go to a file and through a hash, and are judged at the end."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from store import digest as digests
from store import errors
from store.content import Blob, Descriptor
from store.digest import Digest
from store.files import explained, write_all
from store.threads import in_thread

_INLINE: Final = 64 << 10
"""Up to this many bytes are written and hashed on the loop: about 0.1 ms."""
_PIECE: Final = 1 << 20


class Outcome(Protocol):
    """What becomes of a write, decided by the store that opened it."""

    def publish(self, digest: Digest, size: int, labels: Mapping[str, str]) -> Blob:
        """Make it a blob."""
        ...

    def drop(self) -> None:
        """Forget it and its bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open write: where its bytes go and what they should be.

    The descriptor appends, and is closed by whoever opened it.
    """

    ref: str
    expected: Descriptor
    descriptor: int
    path: Path


class Session:
    """Implements `Ingest`; `resume` first, if there may be bytes already."""

    def __init__(self, opened: Opened, outcome: Outcome) -> None:
        self._opened = opened
        self._outcome = outcome
        self._hash = self._new_hash()
        self._offset = 0
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Session {self._opened.ref}: {state} at {self._offset}>"

    @property
    def offset(self) -> int:
        """Bytes that are written so far."""
        return self._offset

    @property
    def path(self) -> Path:
        """The growing file."""
        return self._opened.path

    async def resume(self) -> None:
        """Take the bytes that an earlier write left as this one's."""
        self._offset = await in_thread(self._hash_file)
        self._refuse_excess(self._offset)

    async def write(self, data: bytes | memoryview) -> None:
        """Append `data`, or all of it not."""
        self._check_open()
        size = len(data) if isinstance(data, bytes) else data.nbytes
        self._refuse_excess(self._offset + size)
        if size <= _INLINE:
            self._append(data)
        else:
            await in_thread(self._append, data)
        self._offset += size

    async def truncate(self) -> None:
        """Start again at offset 0."""
        self._check_open()
        with explained(f"truncate the unfinished write {self._opened.ref}"):
            os.ftruncate(self._opened.descriptor, 0)
        self._hash = self._new_hash()
        self._offset = 0

    async def commit(self, labels: Mapping[str, str] | None = None) -> Blob:
        """Verify and publish."""
        self._check_open()
        expected = self._opened.expected
        if expected.size and self._offset != expected.size:
            self._lost(f"{self._offset} bytes came, {expected.size} were expected")
        digest = digests.parse(f"{self._hash.name}:{self._hash.hexdigest()}")
        if expected.digest and digest != expected.digest:
            self._lost(f"the bytes have digest {digest}, {expected.digest} was expected")
        blob = self._outcome.publish(digest, self._offset, labels or {})
        self._ended = True
        return blob

    def _new_hash(self) -> "hashlib._Hash":
        digest = self._opened.expected.digest
        return hashlib.new(digests.algorithm(digest) if digest else "sha256")

    def _check_open(self) -> None:
        if self._ended:
            raise errors.FailedPreconditionError(f"write {self._opened.ref} has ended")

    def _refuse_excess(self, size: int) -> None:
        limit = self._opened.expected.size
        if limit and size > limit:
            self._lost(f"at least {size} bytes came, {limit} were expected")

    def _lost(self, why: str) -> None:
        self._ended = True
        self._outcome.drop()
        raise errors.DataLossError(f"cannot take {self._opened.ref}: {why}")

    def _append(self, data: bytes | memoryview) -> None:
        with explained(f"write {self._opened.ref} at offset {self._offset}"):
            try:
                write_all(self._opened.descriptor, data)
            except OSError:
                os.ftruncate(self._opened.descriptor, self._offset)
                raise
        self._hash.update(data)

    def _hash_file(self) -> int:
        offset = 0
        with explained(f"read the unfinished write {self._opened.ref}"):
            while piece := os.pread(self._opened.descriptor, _PIECE, offset):
                self._hash.update(piece)
                offset += len(piece)
        return offset
