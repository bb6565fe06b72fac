"""SPDY/3.1 without I/O: bytes in, events out; commands in, bytes out.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. Both roles are here, so that
one can be tested against the other.

Flow control is what every SPDY peer of Kubernetes leaves out: moby/spdystream neither keeps to a
window nor ever opens one. So ours opens windows as bytes are consumed, keeps to the peer's window
from the moment the peer shows that it has one (WINDOW_UPDATE or an initial size in SETTINGS), and
takes what a peer sends beyond our window: back pressure is then the connection's, for all streams.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cri.streaming import ProtocolError
from cri.streaming import spdy_frames as frames
from cri.streaming.spdy_headers import HeaderReader, HeaderWriter

MAX_DATA: Final = 1 << 18
"""We put at most so many bytes into one data frame."""

_CONTROL_LIMIT: Final = 1 << 14
_WINDOW: Final = 1 << 16
_WINDOW_LIMIT: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream and awaits `reply` or `reset`."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer has accepted a stream of ours."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes came; how they are cut says nothing. Answer with `consumed` when they are read."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The peer will send no more on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer has ended a stream in both directions."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Writable:
    """More may be sent on a stream; 0: perhaps on every stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ponged:
    """The peer has answered a ping of ours."""

    number: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer accepts no more streams."""

    last: int


Event = Opened | Replied | Data | Finished | WasReset | Writable | Ponged | GoneAway


@dataclass(slots=True)
class _Stream:
    """Which directions are open, what may be sent, what was read but not yet told."""

    sending: bool = True
    receiving: bool = True
    window: int = _WINDOW
    consumed: int = 0


@dataclass(slots=True)
class _DataFrame:
    """What is left of the data frame that is coming in."""

    stream: int
    left: int
    fin: bool


@dataclass(slots=True)
class _Windows:
    """What the peer allows us; nothing is held back before it has allowed anything."""

    kept: bool = False
    initial: int = _WINDOW
    session: _Stream = field(default_factory=_Stream)


class Spdy:
    """One connection's state.

    Args:
        server: whether we answer to even stream numbers' owner, the client being the odd one.
        streams: how many streams the peer may have open at once; further ones are refused.
    """

    def __init__(self, *, server: bool = True, streams: int = 4096) -> None:
        self._server = server
        self._limit = streams
        self._streams: dict[int, _Stream] = {}
        self._windows = _Windows()
        self._next = 2 if server else 1
        self._highest = 0
        self._pings = self._next
        self._gone = False
        self._reader = HeaderReader()
        self._writer = HeaderWriter()
        self._rest = b""
        self._frame: _DataFrame | None = None
        self._out: list[bytes] = []

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield what the bytes tell; iterate to the end, then send what `take` returns.

        Raises:
            ProtocolError: the connection is of no more use.
        """
        view = memoryview(self._rest + data if self._rest else data)
        self._rest = b""
        while view:
            if self._frame is not None:
                view = yield from self._continue(self._frame, view)
                continue
            length = _whole(view)
            if length is None:
                self._rest = bytes(view)
                return
            yield from self._start(bytes(view[:length]))
            view = view[length:]

    def take(self) -> bytes:
        """Return what is to be sent, and forget it."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream and return its number."""
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = _Stream(window=self._windows.initial)
        self._put(frames.SynStream(stream, self._writer.encode(headers)))
        return stream

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream that the peer has opened."""
        if stream in self._streams:
            self._put(frames.SynReply(stream, self._writer.encode(headers or {})))

    def sendable(self, stream: int) -> int:
        """Return how many bytes may be sent on a stream now; -1 if nobody wants any."""
        state = self._streams.get(stream)
        if state is None or not state.sending:
            return -1
        if not self._windows.kept:
            return MAX_DATA
        return max(0, min(state.window, self._windows.session.window, MAX_DATA))

    def send(self, stream: int, data: bytes) -> None:
        """Send bytes, at most as many as `sendable` says; nothing if nobody wants them."""
        state = self._streams.get(stream)
        if state is None or not state.sending or not data:
            return
        if len(data) > self.sendable(stream):
            raise ValueError(
                f"cannot send {len(data)} bytes on stream {stream}: its window is small"
            )
        state.window -= len(data)
        self._windows.session.window -= len(data)
        self._out += (frames.data_head(stream, len(data)), data)

    def finish(self, stream: int) -> None:
        """Say that no more is sent on a stream; idempotent."""
        state = self._streams.get(stream)
        if state is not None and state.sending:
            state.sending = False
            self._out.append(frames.data_head(stream, 0, fin=True))
            self._forget_finished(stream, state)

    def reset(self, stream: int, status: frames.Status = frames.Status.CANCEL) -> None:
        """End a stream in both directions; idempotent."""
        if self._streams.pop(stream, None) is not None:
            self._put(frames.Reset(stream, status))

    def consumed(self, stream: int, count: int) -> None:
        """Say that so many bytes of a stream were read, so that the peer may send as many more."""
        state = self._streams.get(stream)
        if state is not None and state.receiving:
            self._open_window(stream, state, count)
        self._open_window(0, self._windows.session, count)

    def ping(self) -> int:
        """Ask the peer for a sign of life and return the number it will answer with."""
        number, self._pings = self._pings, self._pings + 2
        self._put(frames.Ping(number))
        return number

    def go_away(self, *, broken: bool = False) -> None:
        """Accept no more streams; `broken` if the peer has broken the protocol."""
        if not self._gone:
            self._gone = True
            self._put(frames.GoAway(self._highest, frames.BROKEN if broken else 0))

    def _put(self, frame: frames.Frame) -> None:
        self._out.append(frame.encode())

    def _theirs(self, number: int) -> bool:
        return number % 2 == (1 if self._server else 0)

    def _start(self, frame: bytes) -> Iterator[Event]:
        """Take a whole control frame, or the head of a data frame."""
        first, second = frames.HEAD.unpack_from(frame)
        flags, length = second >> 24, second & frames.LENGTH
        if not first & frames.CONTROL:
            self._expect(first & frames.STREAM)
            self._frame = _DataFrame(first & frames.STREAM, length, bool(flags & frames.FIN))
            yield from self._end_frame(self._frame)
            return
        if (first >> 16) & 0x7FFF != frames.VERSION:
            raise ProtocolError("cannot read a frame: it is not of SPDY/3")
        parsed = frames.parse(first & 0xFFFF, flags, frame[frames.HEAD.size :])
        if parsed is not None:
            yield from self._control(parsed)

    def _expect(self, stream: int) -> None:
        """Refuse data on streams that never were."""
        last = self._highest if self._theirs(stream) else self._next - 2
        if not 0 < stream <= last:
            raise ProtocolError(f"cannot take data on stream {stream}: nobody opened it")

    def _continue(self, frame: _DataFrame, view: memoryview) -> Generator[Event, None, memoryview]:
        """Take what there is of a data frame; return what follows it."""
        data = view[: frame.left]
        frame.left -= len(data)
        state = self._streams.get(frame.stream)
        if state is not None and state.receiving:
            yield Data(frame.stream, bytes(data))
        else:
            self._open_window(0, self._windows.session, len(data))
        yield from self._end_frame(frame)
        return view[len(data) :]

    def _end_frame(self, frame: _DataFrame) -> Iterator[Event]:
        if frame.left:
            return
        self._frame = None
        if frame.fin:
            yield from self._finished(frame.stream)

    def _control(self, frame: frames.Frame) -> Iterator[Event]:
        match frame:
            case frames.SynStream():
                yield from self._syn_stream(frame)
            case frames.SynReply() | frames.Headers():
                yield from self._more_headers(frame)
            case frames.Reset():
                if self._streams.pop(frame.stream, None) is not None:
                    yield WasReset(frame.stream, frame.status)
            case frames.Settings():
                yield from self._set(frame.values)
            case frames.Ping():
                yield from self._pinged(frame)
            case frames.GoAway():
                yield GoneAway(frame.last)
            case frames.WindowUpdate():
                yield from self._widen(frame)

    def _syn_stream(self, frame: frames.SynStream) -> Iterator[Event]:
        headers = self._reader.decode(frame.block)
        if self._gone:
            return
        if not self._theirs(frame.stream) or frame.stream <= self._highest:
            self._put(frames.Reset(frame.stream, frames.Status.PROTOCOL_ERROR))
            return
        self._highest = frame.stream
        if len(self._streams) >= self._limit:
            self._put(frames.Reset(frame.stream, frames.Status.REFUSED_STREAM))
            return
        self._streams[frame.stream] = _Stream(
            sending=not frame.unidirectional, window=self._windows.initial
        )
        yield Opened(frame.stream, headers)
        yield from self._finished(frame.stream) if frame.fin else ()

    def _more_headers(self, frame: frames.SynReply | frames.Headers) -> Iterator[Event]:
        headers = self._reader.decode(frame.block)
        ours = frame.stream in self._streams and not self._theirs(frame.stream)
        if ours and isinstance(frame, frames.SynReply):
            yield Replied(frame.stream, headers)
        if frame.fin:
            yield from self._finished(frame.stream)

    def _finished(self, stream: int) -> Iterator[Event]:
        state = self._streams.get(stream)
        if state is not None and state.receiving:
            state.receiving = False
            self._forget_finished(stream, state)
            yield Finished(stream)

    def _forget_finished(self, stream: int, state: _Stream) -> None:
        if not state.sending and not state.receiving:
            del self._streams[stream]

    def _pinged(self, frame: frames.Ping) -> Iterator[Event]:
        if self._theirs(frame.number):
            self._put(frame)
        else:
            yield Ponged(frame.number)

    def _set(self, values: Mapping[int, int]) -> Iterator[Event]:
        initial = values.get(frames.Setting.INITIAL_WINDOW_SIZE)
        if initial is None:
            return
        if initial > _WINDOW_LIMIT:
            raise ProtocolError(f"cannot use an initial window of {initial} bytes")
        self._windows.kept = True
        for state in self._streams.values():
            state.window += initial - self._windows.initial
        self._windows.initial = initial
        yield Writable(0)

    def _widen(self, frame: frames.WindowUpdate) -> Iterator[Event]:
        self._windows.kept = True
        state = self._streams.get(frame.stream) if frame.stream else self._windows.session
        if state is None:
            return
        state.window += frame.delta
        if state.window > _WINDOW_LIMIT:
            raise ProtocolError(f"cannot widen stream {frame.stream}: its window overflows")
        yield Writable(frame.stream)

    def _open_window(self, stream: int, state: _Stream, count: int) -> None:
        state.consumed += count
        if state.consumed >= _WINDOW // 2:
            self._put(frames.WindowUpdate(stream, state.consumed))
            state.consumed = 0


def _whole(view: memoryview) -> int | None:
    """Return the length of the control frame or data head in front; None if it is not all there.

    Raises:
        ProtocolError: a control frame is too large to be one of ours.
    """
    if len(view) < frames.HEAD.size:
        return None
    first, second = frames.HEAD.unpack_from(view)
    if not first & frames.CONTROL:
        return frames.HEAD.size
    length = second & frames.LENGTH
    if length > _CONTROL_LIMIT:
        raise ProtocolError(f"cannot read a control frame of {length} bytes")
    whole = frames.HEAD.size + length
    return whole if len(view) >= whole else None
