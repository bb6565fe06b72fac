"""Copying: to the end, or until nobody reads any more."""

from runtime.io.copying import Nowhere, copy
from runtime.io.feed import Feed


class Collector:
    """A sink that takes so many writes, then nothing more."""

    def __init__(self, writes: int = 100) -> None:
        self.data = b""
        self.closed = False
        self._left = writes

    async def write(self, data: bytes) -> bool:
        if not self._left:
            return False
        self._left -= 1
        self.data += data
        return True

    def close(self) -> None:
        self.closed = True


async def test_everything_is_copied_and_the_end_is_passed_on() -> None:
    feed, sink = Feed(), Collector()
    feed.push(b"abc")
    feed.end()
    await copy(feed, sink)
    assert (sink.data, sink.closed) == (b"abc", True)


async def test_a_source_nobody_reads_is_abandoned() -> None:
    feed, sink = Feed(), Collector(writes=0)
    feed.push(b"abc")
    await copy(feed, sink)
    feed.push(b"more")
    assert (feed.size, sink.closed) == (0, False)


async def test_what_goes_nowhere_is_taken() -> None:
    feed = Feed()
    feed.push(b"abc")
    feed.end()
    await copy(feed, Nowhere())
    assert feed.size == 0
