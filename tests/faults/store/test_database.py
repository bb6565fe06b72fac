"""Writes to the database that fail half-way, at every offset of a commit."""

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.metadata.records import SqliteRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Let write(2) fail with EFBIG behind `size` bytes, which SQLite reports as an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("offset", range(0, 14_000, 1000))
def test_a_commit_that_fails_changes_nothing_and_the_next_one_works(
    tmp_path: Path, offset: int
) -> None:
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    before = [("one", "a", Thing(name="a")), ("one", "b", Thing(name="b"))]
    with Database(path) as database:
        things = SqliteRecords(database, "thing", Thing)
        for namespace, id_, thing in before:
            things.add(namespace, id_, thing)

        def change() -> None:
            with database.transaction():
                things.put("one", "a", Thing(name="x" * 9000))
                things.delete("one", "b")
                things.add("one", "c", Thing(name="c"))

        with no_file_grows_beyond(log.stat().st_size + offset), pytest.raises(errors.Error):
            change()
        assert list(things.walk()) == before
        change()
    with Database(path) as database:
        assert database.damage is None
        after = list(SqliteRecords(database, "thing", Thing).walk())
        assert [(id_, thing.name[:1]) for _, id_, thing in after] == [("a", "x"), ("c", "c")]


@pytest.mark.parametrize("offset", range(0, 14_000, 1000))
def test_a_crash_after_a_failed_commit_finds_the_old_records(tmp_path: Path, offset: int) -> None:
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    with Database(path) as database:
        things = SqliteRecords(database, "thing", Thing)
        things.add("one", "a", Thing(name="a"))
        limit = log.stat().st_size + offset
        with no_file_grows_beyond(limit), pytest.raises(errors.Error):
            things.put("one", "a", Thing(name="x" * 9000))
        crashed = tmp_path / "crashed.db"
        crashed.write_bytes(path.read_bytes())
        Path(f"{crashed}-wal").write_bytes(log.read_bytes())
    with Database(crashed) as recovered:
        things = SqliteRecords(recovered, "thing", Thing)
        assert recovered.damage is None
        assert list(things.walk()) == [("one", "a", Thing(name="a"))]
