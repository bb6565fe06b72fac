"""What can still be read from a damaged database.

A copy of the file is mended first as far as its format is known beforehand: the header, the size,
and, if the schema cannot be read, the whole first page. Rows are then visited in the order of
their row ids. Where a page cannot be read, one row id after the other is skipped until reading
works again, so only rows on damaged pages are lost; their check sums tell the forged ones.

File format: https://www.sqlite.org/fileformat2.html
"""

import contextlib
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from store.database.rows import BadRow, Row
from store.database.sqlite import primary_code

_PAGE: Final = 4096
_HEADER: Final = 100
_LONGEST_GAP: Final = 20_000
"""Row ids that are tried behind the last readable one before the rest is given up."""

_QUERY: Final = (
    "SELECT rowid, kind, namespace, id, data, check_sum FROM records "
    "WHERE rowid > ? ORDER BY rowid LIMIT 1"
)


def header_fault(path: Path) -> str | None:
    """Say why the file cannot be a database of ours, by its header alone; None if it can.

    SQLite takes a file that is too short for an empty one, and one with a strange version for
    read-only; neither shows as an error.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if len(header) < _HEADER:
        return f"the file has only {len(header)} bytes"
    if not header.startswith(b"SQLite format 3\0"):
        return "the file is not a database"
    if not {header[18], header[19]} <= {1, 2}:
        return "the header names an unknown format version"
    return None


def salvage(damaged: Path, scratch: Path, sound: Path) -> Iterator[Row | BadRow]:
    """Yield each row of `damaged` that can be read; wrong sums make it a `BadRow`.

    Never raises because of what the file holds, and does not change it.

    Args:
        damaged: the database, perhaps with its write-ahead log.
        scratch: a path for the copy, which is removed again.
        sound: an empty database of the same version, checkpointed.
    """
    try:
        for first_page_too in (False, True):
            _copy(damaged, scratch)
            _mend(scratch, sound, first_page_too=first_page_too)
            with contextlib.closing(sqlite3.connect(scratch, isolation_level=None)) as connection:
                connection.text_factory = _text
                if _has_schema(connection):
                    yield from _rows(connection)
                    return
    finally:
        remove(scratch)


def remove(path: Path, *suffixes: str) -> None:
    """Unlink a database with its side files, or only the side files of these suffixes."""
    for suffix in suffixes or ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _copy(damaged: Path, scratch: Path) -> None:
    remove(scratch)
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{damaged}{suffix}", f"{scratch}{suffix}")


def _mend(scratch: Path, sound: Path, *, first_page_too: bool) -> None:
    """Give the copy a header that fits; what the damage left of it is not needed for reading."""
    first_page = sound.read_bytes()[:_PAGE]
    raw = scratch.read_bytes()
    pages = -(-len(raw) // _PAGE)
    kept = first_page if first_page_too else first_page[:_HEADER]
    mended = bytearray(kept + raw[len(kept) :]).ljust(pages * _PAGE, b"\0")
    mended[28:32] = struct.pack(">I", pages)
    mended[32:40] = bytes(8)  # no free pages: nobody writes to the copy
    scratch.write_bytes(mended)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _has_schema(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute(f"EXPLAIN {_QUERY}", (0,)).fetchall()
    except sqlite3.Error:
        return False
    return True


def _rows(connection: sqlite3.Connection) -> Iterator[Row | BadRow]:
    last = failures = 0
    while failures < _LONGEST_GAP:
        try:
            found = connection.execute(_QUERY, (last,)).fetchone()
        except sqlite3.Error as error:
            if primary_code(error) == sqlite3.SQLITE_NOTADB:
                return
            last, failures = last + 1, failures + 1
            continue
        if found is None:
            return
        last, failures = found[0], 0
        yield _judged(found)


def _judged(found: tuple[int, object, object, object, object, object]) -> Row | BadRow:
    _, kind, namespace, id_, data, stored_sum = found
    row = Row(
        kind=str(kind),
        namespace=str(namespace),
        id=str(id_),
        data=data if isinstance(data, bytes) else repr(data).encode(),
    )
    if row.check_sum == stored_sum:
        return row
    return BadRow(row=row, reason="its check sum is wrong")
