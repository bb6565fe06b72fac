"""An entry and how its data is stored, from a header block and what stood before it."""

from dataclasses import dataclass, replace
from typing import Final

from store.errors import DataLossError
from store.images.layers import Entry, Kind, extended, header, sparse
from store.images.layers.header import Header

_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
}
_DEVICES: Final = frozenset({Kind.CHARACTER, Kind.BLOCK})


@dataclass(slots=True)
class Preface:
    """What extended headers say about the entry after them."""

    records: extended.Records = ()
    name: bytes = b""
    link: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.records or self.name or self.link)


@dataclass(frozen=True, slots=True)
class Member:
    """An entry, the bytes the archive stores for it, and the map that says where they belong."""

    entry: Entry
    stored: int = 0
    map: sparse.Map | None = None


def member(head: Header, preface: Preface, block: bytes) -> Member:
    """Return what `head` (parsed from `block`) describes; DataLossError if it makes no sense.

    GNU long names win over PAX records, which win over the block. Only files have data, whatever
    the size of another kind says.
    """
    kind = _KINDS.get(head.flag)
    if kind is None:
        raise DataLossError(f"unknown type {head.flag!r}")
    if preface.records:
        head = _merged(head, dict(preface.records))
    name = preface.name or head.path
    if head.flag == b"\0" and name.endswith(b"/"):
        kind = Kind.DIRECTORY
    entry = Entry(
        name=name,
        kind=kind,
        mode=head.mode,
        uid=head.uid,
        gid=head.gid,
        mtime=head.mtime,
        size=head.size if kind is Kind.FILE else 0,
        link=preface.link or head.link,
        device=_device(head) if kind in _DEVICES else (0, 0),
        attributes=extended.attributes(preface.records) if preface.records else (),
    )
    if kind is not Kind.FILE:
        return Member(entry)
    if head.flag == b"S":
        size = header.number(block[483:495])
        return Member(replace(entry, size=size), head.size, sparse.OldMap(block))
    return _sparse(entry, preface.records) if preface.records else Member(entry, head.size)


def _merged(head: Header, records: dict[bytes, bytes]) -> Header:
    mtime = records.get(b"mtime")
    return head._replace(
        path=records.get(b"GNU.sparse.name") or records.get(b"path") or head.path,
        link=records.get(b"linkpath") or head.link,
        uid=_number(records, b"uid", head.uid),
        gid=_number(records, b"gid", head.gid),
        size=_number(records, b"size", head.size),
        mtime=extended.nanoseconds(mtime) if mtime else head.mtime,
    )


def _number(records: dict[bytes, bytes], keyword: bytes, otherwise: int) -> int:
    text = records.get(keyword)
    return extended.number(text) if text else otherwise


def _device(head: Header) -> tuple[int, int]:
    return header.number(head.major), header.number(head.minor)


def _sparse(entry: Entry, records: extended.Records) -> Member:
    known = dict(records)
    stored = entry.size
    size = known.get(b"GNU.sparse.realsize") or known.get(b"GNU.sparse.size")
    if size:
        entry = replace(entry, size=extended.number(size))
    version = known.get(b"GNU.sparse.major", b""), known.get(b"GNU.sparse.minor", b"")
    if version == (b"1", b"0"):
        return Member(entry, stored, sparse.DecimalMap())
    if version not in {(b"", b""), (b"0", b"0"), (b"0", b"1")}:
        raise DataLossError(f"unknown sparse format {version}")
    if b"GNU.sparse.map" in known or b"GNU.sparse.numblocks" in known:
        return Member(entry, stored, sparse.RecordsMap(records))
    return Member(entry, stored)
