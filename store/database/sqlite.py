"""SQLite as ferry opens it, and its errors in our words."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from store import errors

_BUSY_SECONDS: Final = 1.0
_KINDS: Final[dict[int, type[errors.Error]]] = {
    sqlite3.SQLITE_FULL: errors.ResourceExhaustedError,
    sqlite3.SQLITE_NOMEM: errors.ResourceExhaustedError,
    sqlite3.SQLITE_BUSY: errors.UnavailableError,
    sqlite3.SQLITE_LOCKED: errors.UnavailableError,
    sqlite3.SQLITE_CANTOPEN: errors.UnavailableError,
    sqlite3.SQLITE_READONLY: errors.UnavailableError,
    sqlite3.SQLITE_CORRUPT: errors.DataLossError,
    sqlite3.SQLITE_NOTADB: errors.DataLossError,
}


def connect(path: Path) -> sqlite3.Connection:
    """Open `path` with explicit transactions only and no checkpoint inside a commit.

    `synchronous=NORMAL` in WAL mode: a commit survives a crash of the daemon and costs no fsync.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    except BaseException:
        connection.close()
        raise
    return connection


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error, 0 if SQLite itself did not raise it."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


@contextlib.contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn a `sqlite3.Error` in the block into the nearest `store.errors` class."""
    try:
        yield
    except sqlite3.Error as error:
        kind = _KINDS.get(primary_code(error), errors.Error)
        raise kind(f"cannot {action}: {error}") from error
