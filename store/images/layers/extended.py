"""PAX records: what an extended header says about the entry after it (POSIX pax, "pax Header").

A record is `LENGTH KEYWORD=VALUE` and a newline, where LENGTH counts all of it. An empty value
takes the field of the header block. Keywords repeat only in the oldest sparse format, so the
records stay a list until they are asked for.
"""

import re
from collections.abc import Iterator
from typing import Final

from store.errors import DataLossError
from store.images.layers import shown

Records = tuple[tuple[bytes, bytes], ...]

ATTRIBUTE: Final = b"SCHILY.xattr."
_TIME: Final = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?")
_NAMES: Final = frozenset({b"path", b"linkpath", b"GNU.sparse.name"})


def parse(body: bytes) -> Records:
    """Return the records of an extended header, in their order.

    Raises:
        DataLossError: the header does not follow the format.
    """
    return tuple(_records(body))


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(body):
        digits = body[at : at + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = body[at + len(digits) + 1 : at + length]
        keyword, separator, value = record[:-1].partition(b"=")
        if not (separator and keyword and record.endswith(b"\n") and at + length <= len(body)):
            raise DataLossError(f"bad record at byte {at} of the extended header")
        if b"\0" in keyword or (keyword in _NAMES and b"\0" in value):
            raise DataLossError(f"NUL in the extended header's {shown(record[:-1])}")
        yield keyword, value
        at += length


def number(text: bytes) -> int:
    """Return a decimal number of at most 18 digits; DataLossError if it is something else."""
    if not (text.isdigit() and len(text) <= 18):
        raise DataLossError(f"{text[:40]!r} is not a number")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """Return a time such as `-12.25` in nanoseconds; DataLossError if it is something else."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise DataLossError(f"{text[:40]!r} is not a time")
    sign, seconds, fraction = match.groups(default=b"")
    value = int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -value if sign else value


def attributes(records: Records) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes among `records`; of equal names the last counts."""
    start = len(ATTRIBUTE)
    found = {key[start:]: value for key, value in records if key.startswith(ATTRIBUTE)}
    return tuple(found.items())
