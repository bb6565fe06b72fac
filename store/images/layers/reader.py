"""Reading a tar archive, without a file: feed bytes, get entries and their data.

Understands ustar, V7, star, GNU long names, PAX and all sparse forms. Whatever is after the end
mark must be zeros: bytes that only some readers would see are refused.
"""

from collections.abc import Callable, Iterator

from store.errors import DataLossError, ResourceExhaustedError
from store.images.layers import Data, Entry, Event, Limits, extended, header, shown, sparse
from store.images.layers.header import BLOCK, ZERO, Header
from store.images.layers.member import Member, Preface, member

_Step = Callable[[bytes], Entry | None]


class TarReader:
    """One archive. After an error it is of no more use."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = 0
        self._preface = Preface()
        self._name = b""
        # Bytes are gathered until `_wanted` are there, then `_step` gets them.
        self._gathered = bytearray()
        self._wanted = BLOCK
        self._step: _Step = self._header
        # Data of the current entry that is to come, and padding after it.
        self._left = 0
        self._skip = 0
        self._offset = 0
        self._scatter: sparse.Scatter | None = None
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what `data` completes; use each event before asking for the next.

        Raises:
            DataLossError: this is not a well-formed archive; the text names the entry.
            ResourceExhaustedError: too many entries, or a header that is too long.
        """
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                view = view[len(piece) :]
                self._left -= len(piece)
                if self._scatter is not None:
                    yield from self._scatter.place(piece)
                else:
                    yield Data(self._offset, piece)
                    self._offset += len(piece)
            elif self._skip:
                skipped = min(self._skip, len(view))
                view = view[skipped:]
                self._skip -= skipped
            elif self._ended:
                _require_zeros(view)
                return
            else:
                view, entry = self._gather(view)
                if entry is not None:
                    yield entry

    def close(self) -> None:
        """Say that there are no more bytes.

        A missing end mark is no error: the digest of the layer covers its length.

        Raises:
            DataLossError: the archive stops within an entry.
        """
        between = self._step in {self._header, self._second_zero}
        if self._left or self._skip or self._gathered or self._preface or not between:
            raise DataLossError(f"cannot read entry {shown(self._name)}: the archive ends within")

    def _gather(self, view: memoryview) -> tuple[memoryview, Entry | None]:
        missing = self._wanted - len(self._gathered)
        piece, rest = view[:missing], view[missing:]
        if self._gathered or len(piece) < missing:
            self._gathered += piece
            if len(piece) < missing:
                return rest, None
            whole = bytes(self._gathered)
            self._gathered.clear()
        else:
            whole = bytes(piece)
        try:
            return rest, self._step(whole)
        except (DataLossError, ResourceExhaustedError) as error:
            raise type(error)(f"cannot read entry {shown(self._name)}: {error}") from None

    def _expect(self, wanted: int, step: _Step) -> None:
        self._wanted = wanted
        self._step = step

    def _header(self, block: bytes) -> Entry | None:
        if block == ZERO:
            self._step = self._second_zero
            return None
        self._name = self._preface.name or block[:100].partition(b"\0")[0]
        self._entries += 1
        if self._entries > self._limits.entries:
            raise ResourceExhaustedError(f"more than {self._limits.entries} entries")
        head = header.parse(block)
        match head.flag:
            case b"x":
                self._body(head, self._take_records)
            case b"L":
                self._body(head, self._take_name)
            case b"K":
                self._body(head, self._take_link)
            case b"g":
                self._bound(head.size)
                self._skip = head.size + -head.size % BLOCK
            case _:
                return self._begin(member(head, self._preface, block))
        return None

    def _second_zero(self, block: bytes) -> None:
        if block != ZERO:
            raise DataLossError("a lone zero block in the middle of the archive")
        self._ended = True

    def _bound(self, size: int) -> None:
        if size > self._limits.header:
            raise ResourceExhaustedError(
                f"its header takes {size} bytes, more than {self._limits.header}"
            )

    def _body(self, head: Header, take: Callable[[bytes], None]) -> None:
        """Gather the content of a header entry for `take`."""
        self._bound(head.size)

        def step(body: bytes) -> None:
            self._expect(BLOCK, self._header)
            take(body[: head.size])

        if head.size:
            self._expect(head.size + -head.size % BLOCK, step)
        else:
            step(b"")

    def _take_records(self, body: bytes) -> None:
        self._preface.records = extended.parse(body)

    def _take_name(self, body: bytes) -> None:
        self._preface.name = body.partition(b"\0")[0]

    def _take_link(self, body: bytes) -> None:
        self._preface.link = body.partition(b"\0")[0]

    def _begin(self, found: Member) -> Entry | None:
        self._preface = Preface()
        self._name = found.entry.name
        if found.map is not None:
            return self._await_map(found, found.map)
        self._follow(found.stored)
        return found.entry

    def _await_map(self, found: Member, sparse_map: sparse.Map, blocks: int = 0) -> Entry | None:
        """Gather blocks until the map is whole; only then is the entry known."""
        self._bound(blocks * BLOCK)
        if sparse_map.complete:
            stored = found.stored - sparse_map.taken
            scatter = sparse.Scatter(sparse_map.segments, found.entry.size, stored)
            self._follow(stored, scatter)
            return found.entry

        def step(block: bytes) -> Entry | None:
            sparse_map.add(block)
            return self._await_map(found, sparse_map, blocks + 1)

        self._expect(BLOCK, step)
        return None

    def _follow(self, stored: int, scatter: sparse.Scatter | None = None) -> None:
        """Let `stored` bytes of data and their padding come next."""
        self._expect(BLOCK, self._header)
        self._left = stored
        self._skip = -stored % BLOCK
        self._offset = 0
        self._scatter = scatter


def _require_zeros(view: memoryview) -> None:
    if bytes(view).count(0) != len(view):
        raise DataLossError("cannot read the archive: there is data after its end mark")
