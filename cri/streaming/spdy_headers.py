"""Header blocks of SPDY/3: name-value pairs, compressed with one zlib stream for each direction.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ section 2.6.10. The compressor
keeps its state over the whole connection, so a block that cannot be read spoils all that follow.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from cri.streaming import ProtocolError

_LIMIT: Final = 1 << 16
_COUNT: Final = struct.Struct(">I")

# The dictionary both sides start from: common words, each behind its length, then a tail of text.
_WORDS: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate "
    "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE_WORDS: Final = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie")
_LAST_WORDS: Final = ("keep-alive", "origin")
_TAIL: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00"
    " Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,public"
    "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _prefixed(text: str) -> bytes:
    return _COUNT.pack(len(text)) + text.encode("ascii")


DICTIONARY: Final = (
    b"".join(_prefixed(word) for word in (*_WORDS.split(), *_MORE_WORDS, *_LAST_WORDS))
    + _TAIL.encode()
)
"""1423 bytes; their Adler-32 names them in every zlib stream that uses them."""


class HeaderWriter:
    """Writes header blocks of one direction."""

    def __init__(self) -> None:
        # A window and tables just large enough for the dictionary: 10 KB instead of 256.
        self._compressor = zlib.compressobj(wbits=11, memLevel=1, zdict=DICTIONARY)

    def encode(self, headers: Mapping[str, str]) -> bytes:
        """Return the next block; names in lower case, values of one name joined by NUL."""
        pairs = b"".join(
            _COUNT.pack(len(text)) + text for pair in headers.items() for text in map(_bytes, pair)
        )
        block = _COUNT.pack(len(headers)) + pairs
        return self._compressor.compress(block) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """Reads header blocks of one direction, each up to 64 KiB when decompressed."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)

    def decode(self, block: bytes) -> dict[str, str]:
        """Return the next block's headers.

        Raises:
            ProtocolError: it is not one, or too large.
        """
        try:
            text = self._decompressor.decompress(block, _LIMIT)
        except zlib.error as error:
            raise ProtocolError(f"cannot decompress a header block: {error}") from error
        if self._decompressor.unused_data or len(text) >= _LIMIT:
            raise ProtocolError(f"cannot read a header block of more than {_LIMIT} bytes")
        headers = dict(_pairs(text))
        if len(headers) != _count(text):
            raise ProtocolError("cannot read a header block: a name occurs twice")
        return headers


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _count(text: bytes) -> int:
    if len(text) < _COUNT.size:
        raise ProtocolError("cannot read a header block: it has no count")
    return int(_COUNT.unpack_from(text)[0])


def _pairs(text: bytes) -> Iterator[tuple[str, str]]:
    fields = _fields(text)
    for _ in range(_count(text)):
        name, value = next(fields, None), next(fields, None)
        if name is None or value is None:
            raise ProtocolError("cannot read a header block: it is too short for what it says")
        if not name or name != name.lower():
            raise ProtocolError(f"cannot read a header block: bad name {name[:80]!r}")
        yield name, value
    if next(fields, None) is not None:
        raise ProtocolError("cannot read a header block: it is longer than it says")


def _fields(text: bytes) -> Iterator[str]:
    position = _COUNT.size
    while position < len(text):
        if position + _COUNT.size > len(text):
            raise ProtocolError("cannot read a header block: it ends inside a length")
        (length,) = _COUNT.unpack_from(text, position)
        position += _COUNT.size
        if position + length > len(text):
            raise ProtocolError("cannot read a header block: it ends inside a text")
        yield text[position : position + length].decode("latin-1")
        position += length
