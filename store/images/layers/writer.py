"""Writing a tar archive, without a file: entries in, bytes out, the same ones each time.

ustar blocks, with a PAX header before those whose fields do not fit. Go, Python and GNU tar read
it; nothing about when or where it was written is in it.
"""

import struct
from typing import Final

from store.images.layers import Entry, Kind
from store.images.layers.extended import ATTRIBUTE
from store.images.layers.header import BLOCK

END: Final = bytes(2 * BLOCK)
"""What comes after the last entry."""

_FIELDS: Final = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_FLAGS: Final = {
    Kind.FILE: b"0",
    Kind.HARD_LINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_NAME: Final = 100
_SECOND: Final = 1_000_000_000
_SMALL: Final = 1 << 21
_LARGE: Final = 1 << 33


def header(entry: Entry) -> bytes:
    """Return what precedes the data of `entry`; its data follows, then `padding`.

    No attribute may have `=` in its name, which PAX cannot say.
    """
    records = b"".join(_record(key, value) for key, value in _records(entry))
    block = _block(
        entry,
        mtime=entry.mtime // _SECOND if 0 <= entry.mtime < _LARGE * _SECOND else 0,
        size=entry.size if entry.size < _LARGE else 0,
    )
    if not records:
        return block
    extension = Entry(name=b"PaxHeaders/0", kind=Kind.FILE)
    return (
        _block(extension, mtime=0, size=len(records), flag=b"x")
        + records
        + padding(len(records))
        + block
    )


def padding(size: int) -> bytes:
    """Return what fills `size` bytes of data up to whole blocks."""
    return bytes(-size % BLOCK)


def _records(entry: Entry) -> list[tuple[bytes, bytes]]:
    """Return what the block has no room for."""
    needed = {
        b"path": (len(entry.name) > _NAME, entry.name),
        b"linkpath": (len(entry.link) > _NAME, entry.link),
        b"size": (entry.size >= _LARGE, b"%d" % entry.size),
        b"uid": (entry.uid >= _SMALL, b"%d" % entry.uid),
        b"gid": (entry.gid >= _SMALL, b"%d" % entry.gid),
        b"mtime": (not _plain_time(entry.mtime), _time(entry.mtime)),
    }
    fields = [(key, value) for key, (wanted, value) in needed.items() if wanted]
    return fields + [(ATTRIBUTE + key, value) for key, value in sorted(entry.attributes)]


def _plain_time(mtime: int) -> bool:
    return mtime % _SECOND == 0 and 0 <= mtime < _LARGE * _SECOND


def _time(mtime: int) -> bytes:
    seconds, fraction = divmod(abs(mtime), _SECOND)
    return b"%s%d.%09d" % (b"-" if mtime < 0 else b"", seconds, fraction)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    # The length counts its own digits.
    while (total := len(rest) + len(str(length))) != length:
        length = total
    return b"%d%s" % (length, rest)


def _block(entry: Entry, *, mtime: int, size: int, flag: bytes | None = None) -> bytes:
    major, minor = entry.device
    fields = (
        entry.name[:_NAME],
        b"%07o\0" % entry.mode,
        b"%07o\0" % (entry.uid if entry.uid < _SMALL else 0),
        b"%07o\0" % (entry.gid if entry.gid < _SMALL else 0),
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,
        flag or _FLAGS[entry.kind],
        entry.link[:_NAME],
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"%07o\0" % major,
        b"%07o\0" % minor,
        b"",
    )
    block = _FIELDS.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
