"""Lists that are answered with bytes kept ready.

Every CRI list is one repeated field, number 1, so an answer is the concatenation of its records,
each framed by tag and length. A record's bytes are kept until what they show changes, and so is the
answer with all of them: the kubelet asks for it every second.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from store.errors import ResourceExhaustedError

T = TypeVar("T")

MAX_UNARY: Final = 16 * 1024 * 1024
"""What the kubelet accepts as one message, in bytes."""

MAX_CHUNK: Final = 1024 * 1024
"""What one message of a stream holds, in bytes, if it has more than one record."""

# Field 1, length-delimited.
_TAG: Final = b"\x0a"


class Serialised(Generic[T]):
    """Records by id, each with the parts of its object that its bytes depend on.

    Args:
        key: returns an object's id.
        parts: returns what the message shows, as few objects as possible; compared by identity
            first, which is quick for records that are kept in memory.
        encode: makes the message.
    """

    def __init__(
        self,
        key: Callable[[T], str],
        parts: Callable[[T], tuple[object, ...]],
        encode: Callable[[T], Message],
    ) -> None:
        self._key = key
        self._parts = parts
        self._encode = encode
        self._kept: dict[str, tuple[tuple[object, ...], bytes]] = {}
        self._whole: tuple[list[T], bytes] = ([], b"")

    def __repr__(self) -> str:
        return f"Serialised({len(self._kept)} records)"

    def records(self, items: Iterable[T], *, complete: bool = False) -> list[bytes]:
        """Return the framed record of each item.

        Args:
            items: what the list shows.
            complete: `items` is all there is, so that records of others can be forgotten.
        """
        found = {self._key(item): self._current(item) for item in items}
        if complete:
            self._kept = found
        else:
            self._kept.update(found)
        return [record for _, record in found.values()]

    def answer(self, items: list[T], stream: str, *, complete: bool = False) -> bytes:
        """Return the records of `items` joined; nothing is made anew while the list is the same.

        Args:
            items: what the list shows; the caller does not change it any more.
            stream: the RPC to use for an answer that is too large.
            complete: `items` is all there is.

        Raises:
            ResourceExhaustedError: it would be too large for the kubelet; names `stream`.
        """
        if not complete:
            return unary(self.records(items), stream)
        shown, answer = self._whole
        if shown != items:  # compared by identity first, so this is quick
            answer = unary(self.records(items, complete=True), stream)
            self._whole = items, answer
        return answer

    def _current(self, item: T) -> tuple[tuple[object, ...], bytes]:
        parts = self._parts(item)
        kept = self._kept.get(self._key(item))
        return kept if kept and kept[0] == parts else (parts, _framed(self._encode(item)))


def _framed(message: Message) -> bytes:
    data = message.SerializeToString()
    return b"".join((_TAG, _varint(len(data)), data))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def unary(records: Sequence[bytes], stream: str) -> bytes:
    """Join records into one answer.

    Raises:
        ResourceExhaustedError: it would be too large for the kubelet; names the RPC to use.
    """
    answer = b"".join(records)
    check_size(len(answer), stream)
    return answer


def check_size(size: int, stream: str) -> None:
    """Raise ResourceExhaustedError if an answer of `size` bytes is too large for the kubelet."""
    if size > MAX_UNARY:
        raise ResourceExhaustedError(
            f"cannot answer with {size} bytes: clients accept {MAX_UNARY}; use {stream}"
        )


class Chunk(Generic[T]):
    """What the next message of a stream holds, until it is full: at least one record."""

    def __init__(self) -> None:
        self.held: list[T] = []
        self._size = 0

    def add(self, record: T, size: int) -> list[T]:
        """Take a record of `size` bytes; return what was held if both do not fit, else nothing."""
        full: list[T] = []
        if self.held and self._size + size > MAX_CHUNK:
            full, self.held, self._size = self.held, [], 0
        self.held.append(record)
        self._size += size
        return full


def chunks(records: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the messages of a stream: every record once, at least one in each."""
    chunk: Chunk[bytes] = Chunk()
    for record in records:
        if full := chunk.add(record, len(record)):
            yield b"".join(full)
    if chunk.held:
        yield b"".join(chunk.held)
