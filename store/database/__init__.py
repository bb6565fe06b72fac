"""The database: rows of encoded records in SQLite, changed in short transactions.

`engine` has `Database` and what it promises; `opening` and `salvage` get a working database out of
whatever lies on the disk; `schema` and `migrations` know its versions; `wal` and `reserve` keep
its log short and room for deletions on a full disk.
"""

from store.database.engine import Database, Transaction

__all__ = ["Database", "Transaction"]
