"""Opening a database so that it works, whatever a crash or a bad disk left of it."""

import contextlib
import logging
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store import errors
from store.database import schema
from store.database.rows import BadRow, Row
from store.database.salvage import header_fault, remove, salvage
from store.database.sqlite import connect, primary_code

PUT: Final = (
    "INSERT INTO records (kind, namespace, id, data, check_sum) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET data = excluded.data, check_sum = excluded.check_sum"
)
QUARANTINE: Final = (
    "INSERT INTO quarantine (kind, namespace, id, data, reason) VALUES (?, ?, ?, ?, ?)"
)
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A database file that could not be used.

    `moved_to` is where it is now; `salvaged` rows were carried over, `bad` ones quarantined.
    """

    reason: str
    moved_to: Path
    salvaged: int
    bad: int


def open_checked(path: Path) -> tuple[sqlite3.Connection, Damage | None]:
    """Return a connection to the checked and migrated database, and what was wrong with it.

    Raises:
        FailedPreconditionError: it is newer than this program.
        sqlite3.Error: it cannot be opened for another reason than what is in it.
    """
    try:
        return _opened(path), None
    except errors.DataLossError as error:
        reason = str(error)
    except sqlite3.DatabaseError as error:
        if primary_code(error) not in _DAMAGED:
            raise
        reason = str(error)
    damage = _replace(path, reason)
    _log.error("database %s was damaged: %s", path, damage)
    return _opened(path), damage


def _opened(path: Path) -> sqlite3.Connection:
    if path.is_file() and (fault := header_fault(path)) is not None:
        raise errors.DataLossError(fault)
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise errors.DataLossError(verdict)  # noqa: TRY301 - the connection is to be closed
        schema.migrate(connection, schema.migrations())
    except errors.FailedPreconditionError as error:
        connection.close()
        raise errors.FailedPreconditionError(f"cannot open {path}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _replace(path: Path, reason: str) -> Damage:
    """Put a new database, with what the damaged one still gives, in its place.

    The old file keeps a second name from the start, and the new one appears whole by a rename: a
    crash in between leaves a damaged database that is replaced at the next start.
    """
    moved = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            os.link(f"{path}{suffix}", f"{moved}{suffix}")
    fresh = path.with_name(path.name + ".salvage")
    remove(fresh)
    salvaged, bad = _carry_over(moved, fresh)
    remove(path, "-wal", "-shm")
    fresh.rename(path)
    return Damage(reason=reason, moved_to=moved, salvaged=salvaged, bad=bad)


def _carry_over(damaged: Path, fresh: Path) -> tuple[int, int]:
    counts = {Row: 0, BadRow: 0}
    with contextlib.closing(_opened(fresh)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        for found in salvage(damaged, fresh.with_suffix(".scratch"), fresh):
            counts[type(found)] += 1
            connection.execute(*_insertion(found))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return counts[Row], counts[BadRow]


def _insertion(found: Row | BadRow) -> tuple[str, tuple[str | bytes | int, ...]]:
    if isinstance(found, Row):
        key = (found.kind, found.namespace, found.id)
        return PUT, (*key, found.data, found.check_sum)
    row = found.row
    return QUARANTINE, (row.kind, row.namespace, row.id, row.data, found.reason)
