import random
import sqlite3
from pathlib import Path

import pytest

from store import errors
from store.database import Database, schema
from store.database.opening import Damage
from store.database.rows import BadRow, Row


def row(number: int) -> Row:
    text = f'{{"number": {number}, "filler": "{"x" * 600}"}}'
    return Row(kind="thing", namespace="one", id=f"id-{number:04}", data=text.encode())


ROWS = [row(number) for number in range(200)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with Database(path) as database, database.transaction() as tx:
        for one in ROWS:
            tx.put(one, new=True)
    return path


def reopened(path: Path) -> tuple[list[Row], list[BadRow], Damage | None]:
    with Database(path) as database, database.transaction() as tx:
        found = list(database.rows("thing"))
        tx.put(Row(kind="other", namespace="one", id="new", data=b"{}"), new=True)
        bad = [item for item in found if isinstance(item, BadRow)]
        bad += database.quarantined("thing")
        return [item for item in found if isinstance(item, Row)], bad, database.damage


def test_a_sound_database_is_not_touched(path: Path) -> None:
    assert reopened(path) == (ROWS, [], None)
    assert [file.name for file in path.parent.glob("*damaged*")] == []


@pytest.mark.parametrize("garbage", [b"", b"x", b"not a database at all" * 1000, bytes(8192)])
def test_garbage_is_moved_aside(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    good, bad, damage = reopened(path)
    assert (good, bad) == ([], [])
    assert damage is not None
    assert damage.moved_to.read_bytes() == garbage
    assert reopened(path)[2] is None


def test_a_truncated_database_gives_what_is_left(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    good, bad, damage = reopened(path)
    assert damage is not None
    assert len(good) == damage.salvaged > 50
    assert all(item in ROWS for item in good)
    assert bad == []
    assert damage.moved_to.stat().st_size == len(raw) // 2


def test_a_bad_page_costs_only_its_rows(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    page = raw.index(b'"number": 100,') // 4096
    raw[page * 4096 : page * 4096 + 100] = bytes(100)
    path.write_bytes(raw)
    good, _, damage = reopened(path)
    assert damage is not None
    assert len(good) >= len(ROWS) - 8
    assert all(item in ROWS for item in good)


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_never_prevent_opening_nor_forge_a_row(path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible damage, not a secret
    raw = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 8, 64))):
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    good, _, _ = reopened(path)
    assert all(item in ROWS for item in good)
    assert len(good) == len({item.id for item in good})


def test_a_flipped_bit_anywhere_costs_at_most_its_page(path: Path) -> None:
    raw = path.read_bytes()
    root = 1  # the page that says where the others are; its loss is not made good
    for page in (page for page in range(len(raw) // 4096) if page != root):
        damaged = bytearray(raw)
        damaged[page * 4096 + (100 if page == 0 else 0)] ^= 0x08
        path.write_bytes(damaged)
        good, _, damage = reopened(path)
        assert damage is not None
        assert len(good) >= len(ROWS) - 8


@pytest.mark.parametrize("offset", range(100))
def test_a_flipped_bit_in_the_header_loses_nothing(path: Path, offset: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0x04
    path.write_bytes(raw)
    good, bad, damage = reopened(path)
    assert (good, bad) == (ROWS, [])
    assert damage is None or damage.moved_to.read_bytes() == raw


def test_damage_in_the_log_loses_the_newest_rows_only(path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed.db"
    with Database(path) as database:
        with database.transaction() as tx:
            tx.put(Row(kind="thing", namespace="two", id="a", data=b"{}"), new=True)
        crashed.write_bytes(path.read_bytes())
        log = bytearray(Path(f"{path}-wal").read_bytes())
    log[len(log) // 2] ^= 1
    Path(f"{crashed}-wal").write_bytes(log)
    assert reopened(crashed) == (ROWS, [], None)


def test_a_newer_database_is_refused_and_kept(path: Path) -> None:
    newest = max(schema.migrations())
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, {**schema.migrations(), newest + 1: "CREATE TABLE later (x);"})
    connection.close()
    with pytest.raises(
        errors.FailedPreconditionError,
        match=f"cannot open {path}: it has version {newest + 1} .* up to {newest}: use the newer",
    ):
        Database(path)
    assert [file.name for file in path.parent.glob("*damaged*")] == []


def test_a_directory_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(errors.UnavailableError, match=r"cannot open .*state\.db"):
        Database(tmp_path / "state.db")


def test_a_crash_while_salvaging_is_made_good(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    path.write_bytes(raw)
    path.with_name("state.db.salvage").write_bytes(b"half of a new database")
    good, _, damage = reopened(path)
    assert good == ROWS
    assert damage is not None
    assert "versions differ" in damage.reason
    assert not path.with_name("state.db.salvage").exists()
