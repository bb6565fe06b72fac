"""The database: rows of encoded records in SQLite, changed in short transactions.

One connection, used on one thread (the event loop's): a commit takes about 0.05 ms, because it is
one write to the write-ahead log without fsync. Rows survive a crash of the daemon, not of the
machine. A transaction never spans an `await`.

Opening always ends with a database that works, or with an error that says what to do. A damaged
file is moved aside, what can still be read is carried over, and `damage` tells; only a database
written by a newer ferry is refused.

On a full disk new records are refused, while records that exist can be changed and deleted: a
reserve is kept back for them.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from store import errors
from store.database import schema
from store.database.opening import PUT, QUARANTINE, open_checked
from store.database.reserve import Reserve
from store.database.rows import BadRow, Row
from store.database.sqlite import explained, primary_code
from store.database.wal import WalCheckpointer

Value: TypeAlias = str | bytes | int

_WAL_LIMIT: Final = 4 << 20
_RESERVE: Final = 1 << 20
_DELETE: Final = "DELETE FROM records WHERE kind = ? AND namespace = ? AND id = ?"

_log = logging.getLogger(__name__)


class Transaction:
    """One change of the database, open until the end of its `with` block."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.owner = _current_task()
        self.grows = False
        self._connection = connection
        self._statements: list[tuple[str, tuple[Value, ...]]] = []
        self._undos: list[Callable[[], None]] = []

    def put(self, row: Row, *, new: bool) -> None:
        """Write a row, replacing one of the same key; `new` says that there is none."""
        self.grows = self.grows or new
        self._execute(PUT, row.kind, row.namespace, row.id, row.data, row.check_sum)

    def delete(self, kind: str, namespace: str, id_: str) -> None:
        """Delete a row, if it is there."""
        self._execute(_DELETE, kind, namespace, id_)

    def quarantine(self, bad: BadRow) -> None:
        """Move a row to the quarantine."""
        row = bad.row
        self.delete(row.kind, row.namespace, row.id)
        self._execute(QUARANTINE, row.kind, row.namespace, row.id, row.data, bad.reason)

    def set_meta(self, name: str, value: str) -> None:
        """Keep a fact, replacing what was known under its name."""
        self._execute(*schema.meta_statement(name, value))

    def on_rollback(self, undo: Callable[[], None]) -> None:
        """Call `undo`, newest first, if this does not commit; it must not raise."""
        self._undos.append(undo)

    def commit(self) -> None:
        """Commit, or raise `sqlite3.Error`; what was to be undone then still is."""
        self._connection.execute("COMMIT")

    def again(self) -> None:
        """Do and commit the same once more, after `end`."""
        self._connection.execute("BEGIN IMMEDIATE")
        for sql, values in self._statements:
            self._connection.execute(sql, values)
        self.commit()

    def roll_back(self) -> None:
        """Undo everything, on disk and in the memory of those who asked for it."""
        self.end()
        while self._undos:
            self._undos.pop()()

    def end(self) -> None:
        """Undo everything on disk, if SQLite has not done so itself."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _execute(self, sql: str, *values: Value) -> None:
        with explained("change the database"):
            self._connection.execute(sql, values)
        self._statements.append((sql, values))


class Database:
    """The database at `path`, opened, checked and migrated.

    Whoever makes it closes it. `damage` is set if the file that was found could not be used.

    Args:
        path: the file; its directory exists. `-wal`, `-shm` and `.reserve` lie beside it.
        wal_limit: bytes of write-ahead log after which it is copied into the database.

    Raises:
        FailedPreconditionError: a newer ferry wrote it.
        UnavailableError: the file cannot be opened, whatever is in it.
    """

    def __init__(self, path: Path, *, wal_limit: int = _WAL_LIMIT) -> None:
        self._path = path
        self._open: Transaction | None = None
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), _RESERVE)
        self._reserve.free()
        with explained(f"open {path}"):
            self._connection, self.damage = open_checked(path)
            self._connection.execute(f"PRAGMA journal_size_limit={wal_limit}")
        self._reserve.fill()
        self._wal = WalCheckpointer(path, wal_limit, self._reserve.fill)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that commits at the end of the block; a raise changes nothing.

        The block must not await, and must not open another one; `joined` takes part in it.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        if self._open is not None:
            raise errors.Error("cannot begin a transaction inside another")
        with explained("begin a transaction"):
            self._connection.execute("BEGIN IMMEDIATE")
        self._open = transaction = Transaction(self._connection)
        try:
            yield transaction
            with explained("commit to the database"):
                self._commit(transaction)
        except BaseException:
            transaction.roll_back()
            raise
        finally:
            self._open = None
        self._wal.committed()

    @contextlib.contextmanager
    def joined(self) -> Iterator[Transaction]:
        """Take part in the open transaction, or open one for the block."""
        if self._open is None:
            with self.transaction() as transaction:
                yield transaction
        elif self._open.owner is not _current_task():
            raise errors.Error("cannot change records: another task has a transaction open")
        else:
            yield self._open

    def rows(self, kind: str) -> Iterator[Row | BadRow]:
        """Yield every row of a kind; one with a wrong sum as a `BadRow`."""
        query = "SELECT namespace, id, data, check_sum FROM records WHERE kind = ?"
        with explained(f"read the {kind} records"):
            for namespace, id_, data, check_sum in self._connection.execute(query, (kind,)):
                row = Row(kind=kind, namespace=namespace, id=id_, data=data)
                intact = row.check_sum == check_sum
                yield row if intact else BadRow(row=row, reason="its check sum is wrong")

    def quarantined(self, kind: str) -> list[BadRow]:
        """Return the rows of a kind that were moved aside, oldest first."""
        query = "SELECT namespace, id, data, reason FROM quarantine WHERE kind = ? ORDER BY rowid"
        with explained(f"read the quarantined {kind} records"):
            found = self._connection.execute(query, (kind,)).fetchall()
        return [
            BadRow(row=Row(kind=kind, namespace=namespace, id=id_, data=data), reason=reason)
            for namespace, id_, data, reason in found
        ]

    def meta(self, name: str) -> str | None:
        """Return a fact kept with the database, such as `boot_id`; None if it is not known."""
        with explained(f"read {name}"):
            return schema.read_meta(self._connection, name)

    def set_meta(self, name: str, value: str) -> None:
        """Keep a fact, at once or with the open transaction."""
        with self.joined() as transaction:
            transaction.set_meta(name, value)

    def close(self) -> None:
        """Checkpoint and close; a second call does nothing."""
        self._wal.close()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.info("closing %s without a checkpoint: %s", self._path, error)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except sqlite3.Error as error:
            if primary_code(error) != sqlite3.SQLITE_FULL or transaction.grows:
                raise
            transaction.end()
            self._make_room()
            transaction.again()

    def _make_room(self) -> None:
        """Give up the reserve and reuse the log from its start: slow, but the disk is full."""
        if self._reserve.free():
            _log.warning("the disk with %s is full: living on the reserve", self._path)
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def _current_task() -> object:
    """Return what tells tasks apart; None outside of a loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
