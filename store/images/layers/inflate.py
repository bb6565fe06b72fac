"""The tar inside of a layer's blob: uncompressed, gzip or zstandard.

Output comes in bounded pieces whatever the input claims. A stream that is followed by something
that is no further stream, or that ends early, is refused.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import zstandard
from isal import igzip_lib, isal_zlib

from store.errors import DataLossError, InvalidArgumentError

PIECE: Final = 1 << 20
_GZIP: Final = 31
_WINDOW: Final = 1 << 27
# A zstandard block of 4 bytes can stand for 128 KiB: a slice of this size for 128 MiB.
_SLICE: Final = 1 << 12


class Source(Protocol):
    """Where compressed bytes come from."""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, at least one unless there are no more."""
        ...


Inflate = Callable[[Source], Iterator[bytes]]


def of_media_type(media_type: str) -> Inflate:
    """Return how to read a layer of this media type.

    Raises:
        InvalidArgumentError: it is not the media type of a layer that can be unpacked.
    """
    base = media_type.partition(";")[0].strip()
    for stem, endings in _MEDIA_TYPES.items():
        if base.startswith(stem) and base[len(stem) :] in endings:
            return endings[base[len(stem) :]]
    raise InvalidArgumentError(f"cannot unpack a layer of media type {media_type[:200]!r}")


def plain(source: Source) -> Iterator[bytes]:
    """Yield what is there."""
    while piece := source.read(PIECE):
        yield piece


def gzip(source: Source) -> Iterator[bytes]:
    """Yield what one or more gzip members hold; DataLossError if they are damaged."""
    stream = None
    try:
        while data := source.read(PIECE):
            full = False
            while data or full:
                stream = stream or isal_zlib.decompressobj(_GZIP)
                piece = stream.decompress(data, PIECE)
                data = stream.unconsumed_tail
                full = len(piece) == PIECE
                if piece:
                    yield piece
                if stream.eof:
                    data, stream, full = stream.unused_data, None, False
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub calls the class an instance
        raise DataLossError(f"cannot inflate the layer: {error}") from None
    if stream is not None:
        raise DataLossError("cannot inflate the layer: it ends within a gzip stream")


def zstd(source: Source) -> Iterator[bytes]:
    """Yield what one or more zstandard frames hold; DataLossError if they are damaged."""
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    stream = None
    pieces: list[bytes] = []
    gathered = 0
    try:
        while block := source.read(PIECE):
            for at in range(0, len(block), _SLICE):
                data = block[at : at + _SLICE]
                while data:
                    stream = stream or context.decompressobj()
                    piece = stream.decompress(data)
                    data = b""
                    if stream.eof:
                        data, stream = stream.unused_data, None
                    pieces.append(piece)
                    gathered += len(piece)
                if gathered >= PIECE:
                    yield b"".join(pieces)
                    pieces.clear()
                    gathered = 0
    except zstandard.ZstdError as error:
        raise DataLossError(f"cannot inflate the layer: {error}") from None
    if stream is not None:
        raise DataLossError("cannot inflate the layer: it ends within a zstandard frame")
    if gathered:
        yield b"".join(pieces)


_MEDIA_TYPES: Final[dict[str, dict[str, Inflate]]] = {
    "application/vnd.oci.image.layer.v1.tar": {"": plain, "+gzip": gzip, "+zstd": zstd},
    "application/vnd.oci.image.layer.nondistributable.v1.tar": {
        "": plain,
        "+gzip": gzip,
        "+zstd": zstd,
    },
    "application/vnd.docker.image.rootfs.diff.tar": {
        "": plain,
        ".gzip": gzip,
        ".zstd": zstd,
    },
    "application/vnd.docker.image.rootfs.foreign.diff.tar": {
        "": plain,
        ".gzip": gzip,
        ".zstd": zstd,
    },
}
