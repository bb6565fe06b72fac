"""Tar archives as tests need them: by Python's tarfile, by GNU tar, or block by block."""

import io
import tarfile
from collections.abc import Iterable, Mapping

from store.images.layers import Data, Entry, Limits
from store.images.layers.reader import TarReader

BLOCK = 512


def block(  # noqa: PLR0913 - one argument for each field of the format
    name: bytes = b"file",
    *,
    flag: bytes = b"0",
    size: int | bytes = 0,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    prefix: bytes = b"",
    patch: Mapping[int, bytes] | None = None,
) -> bytes:
    """Return one header block; `patch` overwrites bytes at offsets before the checksum is made."""
    size_field = b"%011o\0" % size if isinstance(size, int) else size
    raw = bytearray(BLOCK)
    fields = {
        0: name,
        100: mode,
        108: uid,
        116: b"0000000\0",
        124: size_field,
        136: mtime,
        148: b" " * 8,
        156: flag,
        157: link,
        257: magic,
        329: major,
        337: minor,
        345: prefix,
        **(patch or {}),
    }
    for offset, value in fields.items():
        raw[offset : offset + len(value)] = value
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def padded(data: bytes) -> bytes:
    """Return `data` filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def pax(
    records: Iterable[tuple[bytes, bytes]] | Mapping[bytes, bytes], flag: bytes = b"x"
) -> bytes:
    """Return an extended header with `records`, in order."""
    pairs = records.items() if isinstance(records, Mapping) else records
    body = b"".join(record(key, value) for key, value in pairs)
    return block(b"PaxHeaders/x", flag=flag, size=len(body)) + padded(body)


def record(key: bytes, value: bytes) -> bytes:
    """Return one PAX record; its length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def end() -> bytes:
    """Return the end mark."""
    return bytes(2 * BLOCK)


def archive(
    members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT
) -> bytes:
    """Return an archive as Python's tarfile writes it."""
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """Return a tarfile member with its `fields` set."""
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def read(
    data: bytes, *, pieces: Iterable[int] = (), limits: Limits | None = None
) -> list[tuple[Entry, bytes]]:
    """Return every entry of an archive with its content, holes filled; cut where `pieces` says."""
    reader = TarReader(limits or Limits())
    found: list[tuple[Entry, bytearray]] = []
    for piece in cut(data, pieces):
        for event in reader.feed(piece):
            if isinstance(event, Data):
                end_at = event.offset + len(event.view)
                found[-1][1][event.offset : end_at] = event.view
            else:
                found.append((event, bytearray(event.size)))
    reader.close()
    return [(entry, bytes(content)) for entry, content in found]


def cut(data: bytes, pieces: Iterable[int]) -> Iterable[bytes]:
    """Yield `data` in pieces of the given lengths, then the rest."""
    at = 0
    for length in pieces:
        yield data[at : at + length]
        at += length
    yield data[at:]
