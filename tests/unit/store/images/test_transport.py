from collections.abc import Iterable

import pytest

from store.images.transport import Request, TransientError, read_body


class Body:
    """A reply that has these pieces."""

    status = 200

    def __init__(self, pieces: Iterable[bytes], length: str = "") -> None:
        self._pieces = iter(pieces)
        self._length = length
        self.read_pieces = 0

    def header(self, name: str) -> str:
        return self._length if name == "Content-Length" else ""

    def header_values(self, name: str) -> list[str]:
        return [self.header(name)]

    async def read(self) -> bytes:
        self.read_pieces += 1
        return next(self._pieces, b"")


async def test_a_body_is_read_to_its_end() -> None:
    assert await read_body(Body([b"ab", b"c"]), 3) == b"abc"
    assert await read_body(Body([]), 0) == b""


async def test_a_body_is_left_as_soon_as_it_is_too_long() -> None:
    body = Body([b"ab"] * 100)
    assert await read_body(body, 3) is None
    assert body.read_pieces == 2


@pytest.mark.parametrize("length", ["4", "9" * 30])
async def test_a_body_that_is_announced_too_long_is_not_begun(length: str) -> None:
    body = Body([b"abcd"], length)
    assert await read_body(body, 3) is None
    assert body.read_pieces == 0


def test_headers_are_added_to_a_copy() -> None:
    request = Request(url="u", headers={"a": "1"})
    assert request.with_header("b", "2").headers == {"a": "1", "b": "2"}
    assert request.with_header("b", "") is request
    assert request.as_head().method == "HEAD"
    assert request.headers == {"a": "1"}


def test_a_transient_error_may_say_when() -> None:
    assert TransientError("x").retry_after is None
    assert TransientError("x", 3.0).retry_after == 3.0
