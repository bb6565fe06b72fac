"""A disk that is really full: a small tmpfs, filled to the last byte."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import errors
from store.database import Database
from store.metadata.records import SqliteRecords

pytestmark = pytest.mark.root

if os.geteuid() != 0:
    pytest.skip("needs root to mount a small tmpfs", allow_module_level=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["/bin/umount", tmp_path], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0


def test_new_records_are_refused_while_old_ones_can_change_and_go(disk: Path) -> None:
    with Database(disk / "state.db") as database:
        things = SqliteRecords(database, "thing", Thing)

        def add(numbers: range) -> None:
            for number in numbers:
                things.add("one", f"id-{number}", Thing(name="x" * 3000))

        add(range(100))
        fill(disk)
        with pytest.raises(errors.ResourceExhaustedError, match="full"):
            add(range(100, 200))
        for round_ in range(5):
            for number in range(100):
                thing = Thing(name=f"stopped {round_}")
                things.put("one", f"id-{number}", thing)
                fill(disk)
        for number in range(100):
            assert things.delete("one", f"id-{number}") is True
    (disk / "filler").unlink()
    with Database(disk / "state.db") as database:
        things = SqliteRecords(database, "thing", Thing)
        assert [id_ for _, id_, _ in things.walk() if int(id_[3:]) < 100] == []
        things.add("one", "new", Thing(name="again"))
        assert (disk / "state.db.reserve").stat().st_size == 1 << 20


def test_a_database_on_a_full_disk_opens(disk: Path) -> None:
    with Database(disk / "state.db") as database:
        SqliteRecords(database, "thing", Thing).add("one", "a", Thing(name="a"))
    fill(disk)
    with Database(disk / "state.db") as database:
        things = SqliteRecords(database, "thing", Thing)
        assert things.get("one", "a") == Thing(name="a")
        assert things.delete("one", "a") is True
