"""Sparse files: where the stored bytes belong (GNU tar manual, "Storing Sparse Files").

Four ways to write the same map: the old GNU header with extension blocks, and PAX 0.0 (repeated
keywords), 0.1 (one keyword) and 1.0 (decimal lines before the data).
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from store.errors import DataLossError
from store.images.layers import Data, extended, header

Segment = tuple[int, int]
"""(offset in the file, length)."""

_OFFSET: Final = b"GNU.sparse.offset"
_LENGTH: Final = b"GNU.sparse.numbytes"


class Scatter:
    """Segments in order, and how far the stored bytes have come.

    Args:
        segments: where the stored bytes go.
        size: of the file with its holes.
        stored: bytes that the archive has.

    Raises:
        DataLossError: segments overlap, run backwards or past `size`, or do not add up to `stored`.
    """

    def __init__(self, segments: Iterable[Segment], size: int, stored: int) -> None:
        self._segments: list[Segment] = []
        end = 0
        for offset, length in segments:
            if offset < end or length < 0 or offset + length > size:
                raise DataLossError(f"bad segment ({offset}, {length}) in the sparse map")
            end = offset + length
            if length:
                self._segments.append((offset, length))
        if sum(length for _, length in self._segments) != stored:
            raise DataLossError("the sparse map does not cover the stored bytes")
        self._segments.reverse()

    def place(self, view: memoryview) -> Iterator[Data]:
        """Yield the next stored bytes at the places where they belong."""
        while view:
            offset, length = self._segments.pop()
            piece, view = view[:length], view[length:]
            if len(piece) < length:
                self._segments.append((offset + len(piece), length - len(piece)))
            yield Data(offset, piece)


class Map(Protocol):
    """A sparse map that is read from the archive block by block."""

    @property
    def complete(self) -> bool:
        """Whether no further block belongs to it."""
        ...

    @property
    def taken(self) -> int:
        """Bytes of the entry's stored data that the map itself is made of."""
        ...

    @property
    def segments(self) -> list[Segment]:
        """The map, once complete; DataLossError if it makes no sense."""
        ...

    def add(self, block: bytes) -> None:
        """Take the next block."""
        ...


class RecordsMap:
    """PAX 0.0 and 0.1: the map is in the records, complete from the start."""

    complete = True
    taken = 0

    def __init__(self, records: extended.Records) -> None:
        joined = dict(records).get(b"GNU.sparse.map")
        if joined is None:
            texts = [value for key, value in records if key in {_OFFSET, _LENGTH}]
        else:
            texts = joined.split(b",") if joined else []
        self.segments = _pairs(texts)

    def add(self, block: bytes) -> None:
        """Refuse: there is nothing to add."""
        raise DataLossError(f"{len(block)} bytes after a complete sparse map")


class OldMap:
    """The old GNU form: four segments in the header block, 21 in each extension block."""

    taken = 0

    def __init__(self, block: bytes) -> None:
        self.segments = _binary(block, 386, 4)
        self.complete = not block[482]

    def add(self, block: bytes) -> None:
        """Take an extension block."""
        self.segments += _binary(block, 0, 21)
        self.complete = not block[504]


class DecimalMap:
    """PAX 1.0: the number of segments, then offsets and lengths, each on a line of its own."""

    def __init__(self) -> None:
        self.taken = 0
        self._text = bytearray()
        self._lines = 0

    @property
    def complete(self) -> bool:
        """Whether all lines that the first one promises are there."""
        if not self._lines:
            return False
        return self._lines > 2 * extended.number(bytes(self._text.partition(b"\n")[0]))

    @property
    def segments(self) -> list[Segment]:
        """The map; DataLossError if a line is not a number."""
        count, *lines = bytes(self._text).split(b"\n")
        return _pairs(lines[: 2 * extended.number(count)])

    def add(self, block: bytes) -> None:
        """Take the next block of the entry's data."""
        self._text += block
        self._lines += block.count(b"\n")
        self.taken += len(block)


def _pairs(texts: list[bytes]) -> list[Segment]:
    if len(texts) % 2:
        raise DataLossError("half a segment in the sparse map")
    numbers = [extended.number(text) for text in texts]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _binary(block: bytes, start: int, count: int) -> list[Segment]:
    segments: list[Segment] = []
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            break
        segments.append(
            (header.number(block[at : at + 12]), header.number(block[at + 12 : at + 24]))
        )
    return segments
