from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.database.rows import Row
from store.metadata.records import MemoryRecords, SqliteRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    size: int = 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database(path) as database:
        yield database


def test_records_are_there_after_a_restart(path: Path) -> None:
    with Database(path) as database:
        things = SqliteRecords(database, "thing", Thing)
        things.add("one", "a", Thing(name="a"))
        things.add("one", "b", Thing(name="b"))
        things.update("one", "a", lambda thing: replace(thing, size=3))
        things.delete("one", "b")
    with Database(path) as database:
        walked = list(SqliteRecords(database, "thing", Thing).walk())
        assert walked == [("one", "a", Thing(name="a", size=3))]
        assert list(SqliteRecords(database, "other", Thing).walk()) == []


def test_several_tables_change_together(database: Database) -> None:
    things = SqliteRecords(database, "thing", Thing)
    others = SqliteRecords(database, "other", Thing)
    things.add("one", "old", Thing(name="old"))
    things.add("one", "gone", Thing(name="gone"))

    def fail() -> None:
        with database.transaction():
            things.add("one", "new", Thing(name="new"))
            things.put("one", "old", Thing(name="changed"))
            things.put("one", "old", Thing(name="changed again"))
            things.delete("one", "gone")
            others.add("two", "a", Thing(name="a"))
            assert things.get("one", "old").name == "changed again"
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert [id_ for _, id_, _ in things.walk()] == ["gone", "old"]
    assert things.get("one", "old") == Thing(name="old")
    assert list(others.walk()) == []
    with database.transaction():
        things.delete("one", "gone")
        others.add("two", "a", Thing(name="a"))
    assert [id_ for _, id_, _ in SqliteRecords(database, "thing", Thing).walk()] == ["old"]
    assert [id_ for _, id_, _ in SqliteRecords(database, "other", Thing).walk()] == ["a"]


def test_memory_keeps_what_the_disk_has_when_a_write_fails(database: Database) -> None:
    things = SqliteRecords(database, "thing", Thing)
    things.add("one", "a", Thing(name="a"))
    database._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(errors.ResourceExhaustedError):
        things.update("one", "a", lambda thing: replace(thing, name="x" * (1 << 20)))
    with pytest.raises(errors.ResourceExhaustedError):
        things.add("one", "b", Thing(name="x" * (1 << 20)))
    assert list(things.walk()) == [("one", "a", Thing(name="a"))]
    assert things.delete("one", "a") is True


def test_a_record_that_cannot_be_encoded_changes_nothing(database: Database) -> None:
    things = SqliteRecords(database, "thing", Thing)
    with pytest.raises(errors.InvalidArgumentError):
        things.add("one", "a", Thing(name="\udcff"))
    assert things.find("one", "a") is None


def test_bad_rows_are_moved_aside_and_listed_ever_after(path: Path) -> None:
    with Database(path) as database:
        SqliteRecords(database, "thing", Thing).add("one", "good", Thing(name="good"))
        with database.transaction() as tx:
            bad = Row(kind="thing", namespace="one", id="bad", data=b'{"name": 3}')
            tx.put(bad, new=True)
        things = SqliteRecords(database, "thing", Thing)
        (listed,) = things.quarantined()
        assert (listed.table, listed.namespace, listed.id) == ("thing", "one", "bad")
        assert listed.data == b'{"name": 3}'
        assert "name" in listed.reason
        assert [id_ for _, id_, _ in things.walk()] == ["good"]
        things.add("one", "bad", Thing(name="a new one of that name"))
    with Database(path) as database:
        things = SqliteRecords(database, "thing", Thing)
        assert things.quarantined() == (listed,)
        assert things.get("one", "bad").name == "a new one of that name"


def test_bad_rows_are_no_obstacle_on_a_disk_without_room(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.transaction() as tx:
        tx.put(Row(kind="thing", namespace="one", id="bad", data=b"x" * 9000), new=True)
    database._connection.execute("PRAGMA query_only=1")
    things = SqliteRecords(database, "thing", Thing)
    assert [bad.id for bad in things.quarantined()] == ["bad"]
    assert "cannot move bad thing records aside" in caplog.text


def test_the_state_shows_in_repr() -> None:
    things = MemoryRecords[Thing]("thing")
    things.add("one", "a", Thing(name="a"))
    assert repr(things) == "<MemoryRecords thing: 1 records>"
