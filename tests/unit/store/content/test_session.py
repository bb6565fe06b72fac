import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.content import Blob
from store.content.session import Opened, Session
from store.digest import Digest, sha256
from tests.contracts.content import descriptor


class Published:
    def __init__(self) -> None:
        self.blobs: list[Digest] = []

    def publish(self, digest: Digest, size: int, labels: Mapping[str, str]) -> Blob:
        self.blobs.append(digest)
        return Blob(digest=digest, size=size, labels=labels, created_at=0, updated_at=0)

    def drop(self) -> None:
        raise AssertionError("nothing is to be dropped")


def opened(data: bytes, fd: int) -> Opened:
    return Opened(ref="ref", expected=descriptor(data), descriptor=fd, path=Path("unused"))


@pytest.fixture
def descriptor_of() -> Iterator[int]:
    made = os.memfd_create("partial")
    fd = os.open(f"/proc/self/fd/{made}", os.O_RDWR | os.O_APPEND)
    yield fd
    os.close(fd)
    os.close(made)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)
@given(pieces=st.lists(st.binary(max_size=200_000), max_size=6), resumed=st.binary(max_size=100))
async def test_chunking_and_resuming_do_not_matter(
    descriptor_of: int, pieces: list[bytes], resumed: bytes
) -> None:
    os.ftruncate(descriptor_of, 0)
    os.write(descriptor_of, resumed)
    whole = resumed + b"".join(pieces)
    outcome = Published()
    session = Session(opened(whole, descriptor_of), outcome)
    await session.resume()
    for piece in pieces:
        await session.write(piece)
    blob = await session.commit()
    assert (blob.digest, blob.size) == (sha256(whole), len(whole))
    assert outcome.blobs == [sha256(whole)]
    assert os.pread(descriptor_of, len(whole) + 1, 0) == whole


def test_the_state_shows_in_repr() -> None:
    assert repr(Session(opened(b"x", -1), Published())) == "<Session ref: open at 0>"
