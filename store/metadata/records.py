"""Record tables: in memory alone, and in memory over the database.

Both are used on one thread. Within `Database.transaction` several changes, of several tables,
commit together; the code inside sees them at once, nobody else can look before they are on disk,
and a rollback takes them back from memory too.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from store import errors
from store.database import Database
from store.database.rows import BadRow, Row
from store.metadata import BadRecord
from store.metadata.encoding import Codec

T = TypeVar("T")

_log = logging.getLogger(__name__)


class MemoryRecords(Generic[T]):
    """Records that live as long as the process.

    Args:
        table_name: what errors call the table, such as `container`.
    """

    def __init__(self, table_name: str) -> None:
        self._table = table_name
        self._live: dict[str, dict[str, T]] = {}

    def __repr__(self) -> str:
        total = sum(len(records) for records in self._live.values())
        return f"<{type(self).__name__} {self._table}: {total} records>"

    def get(self, namespace: str, id_: str) -> T:
        """Return the record, or raise NotFoundError."""
        record = self.find(namespace, id_)
        if record is None:
            raise errors.NotFoundError(f"{self._table} {id_!r} not found in namespace {namespace}")
        return record

    def find(self, namespace: str, id_: str) -> T | None:
        """Return the record, or None."""
        return self._live.get(namespace, {}).get(id_)

    def add(self, namespace: str, id_: str, record: T) -> None:
        """Store a new record; AlreadyExistsError if the id is taken."""
        if self.find(namespace, id_) is not None:
            raise errors.AlreadyExistsError(
                f"{self._table} {id_!r} already exists in namespace {namespace}"
            )
        self.put(namespace, id_, record)

    def put(self, namespace: str, id_: str, record: T) -> None:
        """Store, replacing what is there."""
        self._live.setdefault(namespace, {})[id_] = record

    def update(self, namespace: str, id_: str, change: Callable[[T], T]) -> T:
        """Store what `change` makes of the record and return it; NotFoundError if absent."""
        record = change(self.get(namespace, id_))
        self.put(namespace, id_, record)
        return record

    def delete(self, namespace: str, id_: str) -> bool:
        """Forget the record; False if there was none."""
        records = self._live.get(namespace, {})
        if id_ not in records:
            return False
        del records[id_]
        if not records:
            del self._live[namespace]
        return True

    def walk(self, namespace: str | None = None) -> Iterator[tuple[str, str, T]]:
        """Yield (namespace, id, record) in key order; changes meanwhile are no harm."""
        for space in self.namespaces() if namespace is None else (namespace,):
            for id_ in sorted(self._live.get(space, {})):
                record = self.find(space, id_)
                if record is not None:
                    yield space, id_, record

    def namespaces(self) -> list[str]:
        """Return the namespaces that have a record, sorted."""
        return sorted(self._live)

    def quarantined(self) -> tuple[BadRecord, ...]:
        """Return nothing: what is never decoded is never bad."""
        return ()


class SqliteRecords(MemoryRecords[T]):
    """Records of one dataclass, kept in the database under the name `table_name`.

    All rows are read when it is made; those that do not decode are quarantined.

    Args:
        database: stays open as long as this is used.
        table_name: the kind of the rows; one instance for each in a process.
        kind: the dataclass.
    """

    def __init__(self, database: Database, table_name: str, kind: type[T]) -> None:
        super().__init__(table_name)
        self._database = database
        self._codec = Codec(kind)
        self._bad = database.quarantined(table_name)
        self._quarantine(list(self._load()))

    def put(self, namespace: str, id_: str, record: T) -> None:
        """Commit, then let readers see it."""
        data = self._codec.encode(record)
        row = Row(kind=self._table, namespace=namespace, id=id_, data=data)
        old = self.find(namespace, id_)
        with self._database.joined() as transaction:
            transaction.put(row, new=old is None)
            super().put(namespace, id_, record)
            transaction.on_rollback(lambda: self._restore(namespace, id_, old))

    def delete(self, namespace: str, id_: str) -> bool:
        """Commit that the record is gone; False if there was none."""
        old = self.find(namespace, id_)
        if old is None:
            return False
        with self._database.joined() as transaction:
            transaction.delete(self._table, namespace, id_)
            super().delete(namespace, id_)
            transaction.on_rollback(lambda: self._restore(namespace, id_, old))
        return True

    def quarantined(self) -> tuple[BadRecord, ...]:
        """Return the rows that could not be decoded, now or at an earlier start."""
        return tuple(
            BadRecord(
                table=self._table,
                namespace=bad.row.namespace,
                id=bad.row.id,
                reason=bad.reason,
                data=bad.row.data,
            )
            for bad in self._bad
        )

    def _restore(self, namespace: str, id_: str, old: T | None) -> None:
        if old is None:
            super().delete(namespace, id_)
        else:
            super().put(namespace, id_, old)

    def _load(self) -> Iterator[BadRow]:
        """Take in all rows and yield the bad ones."""
        for found in self._database.rows(self._table):
            if isinstance(found, BadRow):
                yield found
                continue
            try:
                record = self._codec.decode(found.data)
            except errors.DataLossError as error:
                yield BadRow(row=found, reason=str(error))
            else:
                super().put(found.namespace, found.id, record)

    def _quarantine(self, bad: list[BadRow]) -> None:
        if not bad:
            return
        self._bad += bad
        try:
            with self._database.joined() as transaction:
                for row in bad:
                    transaction.quarantine(row)
        except errors.Error as error:  # the next start finds and moves them again
            _log.warning("cannot move bad %s records aside: %s", self._table, error)
