import gzip as stdlib_gzip
import io
import random
from collections.abc import Iterable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError, InvalidArgumentError
from store.images.layers import inflate


class Trickle:
    """A source that gives no more than it wants to."""

    def __init__(self, data: bytes, pieces: Iterable[int] = ()) -> None:
        self._stream = io.BytesIO(data)
        self._pieces = iter(pieces)

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, next(self._pieces, size)))


def skippable(data: bytes) -> bytes:
    return (0x184D2A50).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


content = st.binary(max_size=5000) | st.integers(0, 3_000_000).map(bytes)
cuts = st.lists(st.integers(1, 3000), max_size=10)


@given(parts=st.lists(content, max_size=3), pieces=cuts)
def test_gzip_members_are_one_stream(parts: list[bytes], pieces: list[int]) -> None:
    data = b"".join(stdlib_gzip.compress(part, 1) for part in parts)
    assert b"".join(inflate.gzip(Trickle(data, pieces))) == b"".join(parts)


@given(parts=st.lists(content, max_size=3), pieces=cuts, extra=st.binary(max_size=20))
def test_zstandard_frames_are_one_stream(
    parts: list[bytes], pieces: list[int], extra: bytes
) -> None:
    data = skippable(extra).join(zstandard.compress(part, 1) for part in parts)
    data += skippable(extra)
    assert b"".join(inflate.zstd(Trickle(data, pieces))) == b"".join(parts)


@given(content)
def test_plain_is_as_it_is(data: bytes) -> None:
    assert b"".join(inflate.plain(Trickle(data))) == data


def test_gzip_comes_in_bounded_pieces() -> None:
    data = stdlib_gzip.compress(bytes(20 << 20))
    assert max(len(piece) for piece in inflate.gzip(Trickle(data))) <= inflate.PIECE


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_cut_stream_is_refused(cut: int) -> None:
    noise = random.Random(1).randbytes(1000)  # noqa: S311 - not secret
    for read, data in (
        (inflate.gzip, stdlib_gzip.compress(noise)),
        (inflate.zstd, zstandard.compress(noise)),
    ):
        with pytest.raises(DataLossError, match="ends within"):
            list(read(Trickle(data[:-cut])))


def test_a_wrong_checksum_is_refused() -> None:
    for position in (-1, -5):
        data = bytearray(stdlib_gzip.compress(b"x" * 1000))
        data[position] ^= 1
        with pytest.raises(DataLossError, match="checksum"):
            list(inflate.gzip(Trickle(bytes(data))))


@pytest.mark.parametrize(
    ("media_type", "read"),
    [
        ("application/vnd.oci.image.layer.v1.tar", inflate.plain),
        ("application/vnd.oci.image.layer.v1.tar+gzip", inflate.gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", inflate.zstd),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", inflate.gzip),
        ("application/vnd.docker.image.rootfs.diff.tar", inflate.plain),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", inflate.gzip),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", inflate.zstd),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", inflate.gzip),
        ("application/vnd.oci.image.layer.v1.tar; charset=x", inflate.plain),
    ],
)
def test_media_types(media_type: str, read: inflate.Inflate) -> None:
    assert inflate.of_media_type(media_type) is read


@pytest.mark.parametrize(
    "media_type",
    ["", "text/html", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "x" * 9999],
)
def test_other_media_types_are_refused(media_type: str) -> None:
    with pytest.raises(InvalidArgumentError, match="media type") as caught:
        inflate.of_media_type(media_type)
    assert len(str(caught.value)) < 300
