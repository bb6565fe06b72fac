import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.database.rows import BadRow, Row


def row(id_: str, data: bytes = b"{}") -> Row:
    return Row(kind="thing", namespace="one", id=id_, data=data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database(path) as database:
        yield database


def ids(database: Database) -> list[str]:
    return sorted(found.id for found in database.rows("thing") if isinstance(found, Row))


def test_rows_survive_closing(path: Path) -> None:
    with Database(path) as first, first.transaction() as tx:
        tx.put(row("a", b"\x00\xff"), new=True)
    with Database(path) as second:
        assert list(second.rows("thing")) == [row("a", b"\x00\xff")]
        assert second.damage is None


def test_rows_survive_a_crash(path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with Database(path) as database:
        with database.transaction() as tx:
            tx.put(row("a"), new=True)
        for suffix in ("", "-wal"):
            copy = crashed / f"state.db{suffix}"
            copy.write_bytes(Path(f"{path}{suffix}").read_bytes())
    with Database(crashed / "state.db") as recovered:
        assert ids(recovered) == ["a"]


def test_a_raise_changes_nothing_and_calls_the_undos_newest_first(database: Database) -> None:
    undone: list[str] = []

    def fail() -> None:
        with database.transaction() as tx:
            tx.put(row("a"), new=True)
            tx.on_rollback(lambda: undone.append("first"))
            tx.on_rollback(lambda: undone.append("second"))
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert ids(database) == []
    assert undone == ["second", "first"]


def test_a_commit_calls_no_undo(database: Database) -> None:
    undone: list[str] = []
    with database.transaction() as tx:
        tx.put(row("a"), new=True)
        tx.on_rollback(lambda: undone.append("a"))
    assert undone == []


def test_a_transaction_inside_another_is_refused(database: Database) -> None:
    with database.transaction() as tx:
        tx.put(row("a"), new=True)
        with pytest.raises(errors.Error, match="inside another"), database.transaction():
            pass
    assert ids(database) == ["a"]


def test_joining_commits_with_the_outer_one(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            with database.joined() as tx:
                tx.put(row("a"), new=True)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert ids(database) == []
    with database.joined() as tx:
        tx.put(row("b"), new=True)
    assert ids(database) == ["b"]


async def test_another_task_cannot_slip_into_a_transaction(database: Database) -> None:
    async def intrude() -> None:
        with pytest.raises(errors.Error, match="another task"), database.joined():
            pass

    with database.transaction():
        async with asyncio.TaskGroup() as group:
            group.create_task(intrude())


def test_delete_and_quarantine(database: Database) -> None:
    with database.transaction() as tx:
        for id_ in "abc":
            tx.put(row(id_), new=True)
        tx.delete("thing", "one", "a")
        tx.quarantine(BadRow(row=row("b"), reason="of no use"))
    assert ids(database) == ["c"]
    assert database.quarantined("thing") == [BadRow(row=row("b"), reason="of no use")]
    assert database.quarantined("other") == []


def test_meta_is_kept_and_replaced(path: Path) -> None:
    with Database(path) as database:
        assert database.meta("boot_id") is None
        database.set_meta("boot_id", "first")
        database.set_meta("boot_id", "second")
    with Database(path) as database:
        assert database.meta("boot_id") == "second"


def test_meta_belongs_to_the_open_transaction(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            database.set_meta("boot_id", "first")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert database.meta("boot_id") is None


def test_a_flipped_bit_in_a_value_is_noticed(path: Path) -> None:
    with Database(path) as database, database.transaction() as tx:
        tx.put(row("a", b'{"name": "abc"}'), new=True)
        tx.put(row("b"), new=True)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"abc"', b'"abb"'))
    with Database(path) as database:
        assert database.damage is None
        bad = BadRow(row=row("a", b'{"name": "abb"}'), reason="its check sum is wrong")
        assert list(database.rows("thing")) == [bad, row("b")]


def test_a_closed_database_says_so(path: Path) -> None:
    database = Database(path)
    database.close()
    database.close()
    with pytest.raises(errors.Error, match=r"cannot begin a transaction: .* closed"):
        database.set_meta("boot_id", "x")


def test_a_locked_database_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.database.sqlite._BUSY_SECONDS", 0.0)
    with Database(path) as database:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.UnavailableError, match="locked"):
            database.set_meta("boot_id", "x")
        other.close()
        database.set_meta("boot_id", "x")


def test_a_full_database_refuses_the_new_and_goes_on(database: Database) -> None:
    database._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(errors.ResourceExhaustedError, match="full"), database.transaction() as tx:
        tx.put(row("a", bytes(1 << 20)), new=True)
    assert ids(database) == []
    with database.transaction() as tx:
        tx.put(row("b"), new=True)
    assert ids(database) == ["b"]
