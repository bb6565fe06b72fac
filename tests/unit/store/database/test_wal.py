import threading
from pathlib import Path

from store.database import Database
from store.database.rows import Row
from store.database.wal import WalCheckpointer


def fill(database: Database, rows: int) -> None:
    for number in range(rows):
        with database.transaction() as tx:
            data = bytes(4096)
            tx.put(Row(kind="thing", namespace="one", id=str(number), data=data), new=True)


def test_a_long_log_is_copied_in_the_background_and_cut(tmp_path: Path) -> None:
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    with Database(path, wal_limit=256 * 1024) as database:
        for _ in range(100):  # until one checkpoint found nobody writing
            fill(database, 10)
            database._wal.close()
            if path.stat().st_size > 256 * 1024 >= log.stat().st_size:
                break
        assert log.stat().st_size <= 256 * 1024
    assert not log.exists()


def test_a_short_log_starts_no_thread(tmp_path: Path) -> None:
    with Database(tmp_path / "state.db") as database:
        fill(database, 3)
        assert [thread.name for thread in threading.enumerate()].count("wal checkpoint") == 0


def test_a_checkpoint_that_fails_is_no_harm(tmp_path: Path) -> None:
    finished = threading.Event()
    log = tmp_path / "state.db-wal"
    log.write_bytes(bytes(100))
    (tmp_path / "state.db").mkdir()
    checkpointer = WalCheckpointer(tmp_path / "state.db", 10, finished.set)
    checkpointer.committed()
    checkpointer.close()
    assert finished.is_set()


def test_without_a_log_nothing_is_due(tmp_path: Path) -> None:
    finished = threading.Event()
    checkpointer = WalCheckpointer(tmp_path / "state.db", 10, finished.set)
    checkpointer.committed()
    checkpointer.close()
    assert not finished.is_set()
