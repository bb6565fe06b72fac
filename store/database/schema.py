"""Bringing a database to the version this program knows.

Migrations are the files `migrations/NNNN_name.sql`, numbered from 1 without a gap; each is applied
once, whole, in its order. The version is kept twice, in `user_version` and in the table `meta`, so
that one flipped bit does not make an old database look like a newer one.
"""

import importlib.resources
import re
import sqlite3
import zlib
from collections.abc import Iterator
from typing import Final

from store import errors

_NAME: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_VERSION: Final = "schema_version"


def migrations() -> dict[int, str]:
    """Return the SQL of every migration by number, in order."""
    found: dict[int, str] = {}
    for file in importlib.resources.files("store.database.migrations").iterdir():
        match = _NAME.fullmatch(file.name)
        if match is not None:
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def version(connection: sqlite3.Connection) -> int:
    """Return the version of a database, 0 for an empty one.

    Raises:
        DataLossError: the two places that keep it disagree.
    """
    (stated,) = connection.execute("PRAGMA user_version").fetchone()
    has_meta = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone()
    kept = int(read_meta(connection, _VERSION) or 0) if has_meta else 0
    if stated != kept:
        raise errors.DataLossError(f"versions differ: {stated} in the header, {kept} in meta")
    return kept


def migrate(connection: sqlite3.Connection, steps: dict[int, str]) -> None:
    """Apply the steps above the database's version, each in a transaction of its own.

    Raises:
        FailedPreconditionError: the database is newer than the last step.
    """
    now, newest = version(connection), max(steps, default=0)
    if now > newest:
        raise errors.FailedPreconditionError(
            f"it has version {now} and this ferry knows versions up to {newest}: "
            "use the newer ferry, or give this one an empty root"
        )
    for number in range(now + 1, newest + 1):
        _apply(connection, number, steps[number])


def _apply(connection: sqlite3.Connection, number: int, migration: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(migration):
            connection.execute(statement)
        sql, *values = meta_statement(_VERSION, str(number))
        connection.execute(sql, values)
        connection.execute(f"PRAGMA user_version={number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(sql: str) -> Iterator[str]:
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def read_meta(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a fact, or None if it is not known or was damaged."""
    row: tuple[str, int] | None = connection.execute(
        "SELECT value, check_sum FROM meta WHERE name = ?", (name,)
    ).fetchone()
    return row[0] if row is not None and row[1] == _check_sum(name, row[0]) else None


def meta_statement(name: str, value: str) -> tuple[str, str, str, int]:
    """Return the SQL that keeps a fact, replacing what was known, and its parameters."""
    sql = "INSERT OR REPLACE INTO meta (name, value, check_sum) VALUES (?, ?, ?)"
    return sql, name, value, _check_sum(name, value)


def _check_sum(name: str, value: str) -> int:
    return zlib.crc32(f"{name}\0{value}".encode())
