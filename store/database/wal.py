"""Keeping the write-ahead log short without a pause for those who commit.

A checkpoint copies the log into the database and needs fsync(2), so it runs in a thread with a
connection of its own, in SQLite's PASSIVE mode, which waits for nobody and blocks nobody. SQLite
itself cuts the log back to `journal_size_limit` at the first commit after a complete checkpoint.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from store.database.sqlite import connect

_log = logging.getLogger(__name__)


class WalCheckpointer:
    """Starts a checkpoint whenever the log has grown by `limit` bytes.

    Args:
        database: path of the database file.
        limit: bytes of log after which a checkpoint is due.
        finished: called in the checkpoint's thread after each.
    """

    def __init__(self, database: Path, limit: int, finished: Callable[[], None]) -> None:
        self._database = database
        self._log = database.with_name(database.name + "-wal")
        self._limit = limit
        self._due = limit
        self._finished = finished
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Look at the log's size (one stat) and start a checkpoint if one is due."""
        if self._thread is not None and self._thread.is_alive():
            return
        try:
            size = self._log.stat().st_size
        except OSError:
            return
        if size <= self._limit:
            self._due = self._limit
        if size > self._due:
            self._due = size + self._limit
            self._start()

    def close(self) -> None:
        """Return when no checkpoint runs any more."""
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="wal checkpoint", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.closing(connect(self._database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            _log.warning("cannot checkpoint %s: %s", self._database, error)
        self._finished()
