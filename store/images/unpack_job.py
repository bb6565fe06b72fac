"""One layer in its cage: a thread reads, inflates and hashes, the other one makes files.

Both halves spend their time outside of the interpreter lock, so the two threads keep two
processors busy, and the pieces between them are few and bounded.
"""

import contextlib
import hashlib
import os
import queue
import socket
import threading
from typing import Final

from store import digest, errors
from store.images import Unfinished, Unpacked
from store.images import unpack_messages as messages
from store.images.layers import Limits, inflate
from store.images.layers.apply import Applier
from store.images.layers.reader import TarReader

_QUEUED: Final = 8
_REPORT_EVERY: Final = 1 << 20
_STACK: Final = 1 << 19
_BLOCK: Final = 4096

_Piece = tuple[bytes, int]
"""Bytes of the tar, and how much of the blob was read for them."""


class GrowingBlob:
    """A blob's file that somebody else is still writing.

    Args:
        fd: the file.
        job: where `Available` messages come from.
    """

    def __init__(self, fd: int, job: socket.socket) -> None:
        self.position = 0
        self._fd = fd
        self._job = job
        self._available = messages.Available(0, complete=False)

    def read(self, size: int) -> bytes:
        """Return the next bytes, waiting for them; empty at the end of a complete blob."""
        while self.position >= self._available.size:
            if self._available.complete:
                return b""
            message = self._job.recv(messages.LARGEST)
            if not message:
                raise errors.UnavailableError("cannot unpack the layer: it was cancelled")
            self._available = messages.decode_available(message)
        data = os.pread(self._fd, min(size, self._available.size - self.position), self.position)
        if not data:
            raise errors.DataLossError("cannot unpack the layer: its blob is shorter than promised")
        self.position += len(data)
        return data


class _Producer(threading.Thread):
    """Reads, inflates and hashes; what it ends with is the digest or an exception."""

    def __init__(self, blob: GrowingBlob, read: inflate.Inflate, limits: Limits) -> None:
        super().__init__(daemon=True, name="inflate")
        self.pieces: queue.Queue[_Piece | BaseException | None] = queue.Queue(_QUEUED)
        self.sha256 = hashlib.sha256()
        self._blob = blob
        self._read = read
        self._limits = limits

    def run(self) -> None:
        try:
            self._produce()
            self.pieces.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self.pieces.put(error)

    def _produce(self) -> None:
        total = 0
        for piece in self._read(self._blob):
            total += len(piece)
            self._check(total)
            self.sha256.update(piece)
            self.pieces.put((piece, self._blob.position))

    def _check(self, total: int) -> None:
        limits = self._limits
        if total > limits.size:
            raise errors.ResourceExhaustedError(
                f"cannot unpack the layer: more than {limits.size} bytes"
            )
        if total > limits.grace and total > limits.ratio * self._blob.position:
            raise errors.DataLossError(
                f"cannot unpack the layer: {self._blob.position} bytes became {total},"
                f" more than {limits.ratio} times as many"
            )


def run(job: socket.socket, blob: int, request: messages.Unpack) -> None:
    """Unpack a layer into the working directory and tell `job` how it went."""
    try:
        result = _unpack(job, GrowingBlob(blob, job), request)
        for part in messages.parts(result):
            job.send(messages.encode(part))
    except errors.Error as error:
        fail(job, error)
    except MemoryError:
        limit = request.limits.memory
        fail(
            job,
            errors.ResourceExhaustedError(
                f"cannot unpack the layer: it needs more than {limit} bytes of memory"
            ),
        )


def fail(job: socket.socket, error: Exception) -> None:
    """Tell `job` that the layer is not unpacked."""
    kind = type(error).__name__ if isinstance(error, errors.Error) else errors.Error.__name__
    text = str(error) if isinstance(error, errors.Error) else f"cannot unpack the layer: {error!r}"
    job.send(messages.encode(messages.Failed(kind, text)))


def _unpack(job: socket.socket, blob: GrowingBlob, request: messages.Unpack) -> Unpacked:
    threading.stack_size(_STACK)
    producer = _Producer(blob, inflate.of_media_type(request.media_type), request.limits)
    producer.start()
    applier = _apply(job, producer, request.limits)
    tree = applier.tree
    return Unpacked(
        diff_id=digest.parse(f"sha256:{producer.sha256.hexdigest()}"),
        size=applier.size + _BLOCK * tree.directories,
        inodes=tree.inodes,
        unfinished=Unfinished(
            opaque=tuple(sorted(tree.opaque)),
            hidden=tuple(sorted(tree.hidden)),
            implied=tuple(sorted(tree.implied)),
            links=tuple(applier.links.items()),
        ),
    )


def _apply(job: socket.socket, producer: _Producer, limits: Limits) -> Applier:
    reader = TarReader(limits)
    applier = Applier(limits)
    reported = 0
    while (item := producer.pieces.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        piece, position = item
        for event in reader.feed(piece):
            applier.take(event)
        if position - reported >= _REPORT_EVERY:
            reported = position
            _advance(job, position)
    reader.close()
    applier.finish()
    return applier


def _advance(job: socket.socket, position: int) -> None:
    # Whoever listens may be slow; what is lost is only how far we are.
    with contextlib.suppress(BlockingIOError):
        job.send(messages.encode(messages.Advanced(position)), socket.MSG_DONTWAIT)
