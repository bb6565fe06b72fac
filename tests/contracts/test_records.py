from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database
from store.metadata import Records
from store.metadata.records import MemoryRecords, SqliteRecords
from tests.contracts.records import RecordsContract, Thing


class TestMemoryRecords(RecordsContract):
    @pytest.fixture
    def records(self) -> Records[Thing]:
        return MemoryRecords[Thing]("thing")


class TestSqliteRecords(RecordsContract):
    @pytest.fixture
    def records(self, tmp_path: Path) -> Iterator[Records[Thing]]:
        with Database(tmp_path / "state.db") as database:
            yield SqliteRecords(database, "thing", Thing)
