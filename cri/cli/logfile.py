"""Reading a container's log: the CRI format of Kubernetes, over the files that rotation makes.

A log is PATH and what the kubelet made of older parts of it: `PATH.TIME` and `PATH.TIME.gz`.
"""

import gzip
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

_BLOCK: Final = 64 << 10
_BUSY: Final = ".tmp"  # what the kubelet is still packing


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `partial` ones are continued by the next of the same stream."""

    stamp: str
    stream: str
    partial: bool
    text: bytes


def parse(raw: bytes) -> Entry | None:
    """Return the entry in one line without its newline, or None if it is not one."""
    fields = raw.split(b" ", 3)
    if len(fields) < 3:
        return None
    stamp, stream, tag = (each.decode(errors="replace") for each in fields[:3])
    text = fields[3] if len(fields) > 3 else b""
    return Entry(stamp, stream, tag.split(":")[0] == "P", text)


def rotated(path: Path) -> list[Path]:
    """Return the older files of a log, oldest first, each once even while it is being packed."""
    found: dict[str, Path] = {}
    for each in sorted(path.parent.glob(f"{path.name}.*")):
        if each.suffix != _BUSY:
            found[each.name.removesuffix(".gz")] = each
    return list(found.values())


@dataclass(slots=True)
class Reader:
    """Reads a log once, and then what is added to it, over rotations. Use as a block.

    Args:
        path: the newest file; it need not be there yet.
        tail: begin with so many whole lines before the end; None is all there is.
    """

    path: Path
    tail: int | None = None
    _file: BinaryIO | None = field(default=None, init=False)
    _rest: bytes = field(default=b"", init=False)
    _earlier: list[bytes] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        self._open()
        left = self.tail
        if self._file is not None and left is not None:
            start, left = last(self._file, left)
            self._file.seek(start)
        for older in reversed(rotated(self.path)):
            if left == 0:
                break
            start = 0
            with _opened(older) as file:
                if left is not None:
                    start, left = last(file, left)
                file.seek(start)
                self._earlier.append(file.read())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def entries(self) -> Iterator[Entry]:
        """Yield what is there and was not yielded yet, up to the last complete entry."""
        while self._earlier:
            yield from _entries(self._earlier.pop().splitlines(keepends=True))
        yield from self._added()
        while self._was_rotated():
            # Whoever writes had the new file before this look at the old one.
            yield from self._added()
            self._open()
            yield from self._added()

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        self._rest = b""
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _was_rotated(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def _added(self) -> Iterator[Entry]:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # truncated in place
            self._rest = b""
        while block := self._file.read(_BLOCK):
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield from _entries(lines)


def last(file: BinaryIO, count: int) -> tuple[int, int]:
    """Return where the last `count` whole lines of a log begin, and how many it lacks.

    Parts of one line count once; a line that is not complete yet does not count and is included.
    """
    start = file.seek(0, io.SEEK_END)
    for offset, raw in _backwards(file):
        entry = parse(raw)
        if entry is None or not entry.partial:
            if not count:
                return start, 0
            count -= 1
        start = offset
    return start, count


def _backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each complete line of a file with its offset, the last one first."""
    position, rest, ended = file.seek(0, io.SEEK_END), b"", False
    while position:
        step = min(_BLOCK, position)
        position -= step
        file.seek(position)
        first, *lines = (file.read(step) + rest).split(b"\n")
        end = position + len(first) + 1 + sum(len(line) + 1 for line in lines)
        for line in reversed(lines):
            end -= len(line) + 1
            if ended:
                yield end, line
            ended = True  # after the last newline there is no complete line
        rest = first
    if ended:
        yield 0, rest


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    for line in lines:
        entry = parse(line.rstrip(b"\n"))
        if entry is not None:
            yield entry


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return io.BytesIO(gzip.decompress(path.read_bytes()))
    return path.open("rb")
