"""One 512-byte header block: POSIX ustar, GNU, star and the V7 form before them.

Numbers are octal text or, with the top bit of the first byte set, big-endian two's complement
(GNU "base-256"). A checksum is accepted as a sum of unsigned or of signed bytes, since both were
written.
"""

import struct
from typing import Final, NamedTuple

from store.errors import DataLossError

BLOCK: Final = 512
ZERO: Final = bytes(BLOCK)

_FIELDS: Final = struct.Struct("100s8s8s8s12s12s8sc100s6s66x8s8s155s12s")
_ENDS: Final = b" \0"
_LARGEST: Final = (1 << 63) - 1


class Header(NamedTuple):
    """The fields of a block; `path` has the ustar prefix, `mtime` is in nanoseconds."""

    path: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    flag: bytes
    link: bytes
    major: bytes
    minor: bytes


def parse(block: bytes) -> Header:
    """Return the fields of a header block.

    Raises:
        DataLossError: the checksum is wrong or a number is not one; the text has no name in it.
    """
    fields: tuple[bytes, ...] = _FIELDS.unpack(block)
    name, mode, uid, gid, size, mtime, checksum, flag, link, magic = fields[:10]
    major, minor, prefix, tail = fields[10:]
    _verify(block, checksum)
    path = name.partition(b"\0")[0]
    if magic == b"ustar\0":
        path = _prefixed(path, prefix[:131] if tail.endswith(b"tar\0") else prefix)
    head = Header(
        path=path,
        mode=number(mode) & 0o7777,
        uid=number(uid),
        gid=number(gid),
        size=number(size),
        mtime=number(mtime) * 1_000_000_000,
        flag=flag,
        link=link.partition(b"\0")[0],
        major=major if magic.startswith(b"ustar") else b"",
        minor=minor if magic.startswith(b"ustar") else b"",
    )
    if head.size < 0:
        raise DataLossError(f"its size is {head.size}")
    return head


def number(field: bytes) -> int:
    """Return the number in a header field; an empty field is 0.

    Raises:
        DataLossError: it is not octal text, or does not fit 63 bits.
    """
    text = field[:-1]
    if not (text.isdigit() and field[-1] in _ENDS):
        if field[:1] >= b"\x80":
            return _binary(field)
        text = field.strip(b" \0").partition(b"\0")[0] or b"0"
    try:
        # int() alone would take signs, spaces and underscores, too.
        return int(text if text.isdigit() else b"none", 8)
    except ValueError:
        raise DataLossError(f"{text!r} is not an octal number") from None


def _binary(field: bytes) -> int:
    if field[0] == 0xFF:
        value = int.from_bytes(field, "big", signed=True)
    else:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    if abs(value) > _LARGEST:
        raise DataLossError(f"number {value} is too large")
    return value


def _prefixed(path: bytes, prefix: bytes) -> bytes:
    prefix = prefix.partition(b"\0")[0]
    return prefix + b"/" + path if prefix else path


def _verify(block: bytes, checksum: bytes) -> None:
    wanted = number(checksum)
    blanks = len(checksum) * 0x20
    if wanted == sum(block) - sum(checksum) + blanks:
        return
    signed = sum(struct.unpack(f"{BLOCK}b", block)) - sum(struct.unpack("8b", checksum)) + blanks
    if wanted != signed:
        raise DataLossError("the checksum of its header is wrong")
