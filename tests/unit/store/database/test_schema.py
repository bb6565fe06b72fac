import sqlite3
from collections.abc import Iterator

import pytest

from store import errors
from store.database import schema


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    numbers = list(schema.migrations())
    assert numbers == list(range(1, len(numbers) + 1))


def test_steps_are_applied_once_in_order(connection: sqlite3.Connection) -> None:
    steps = {**schema.migrations()}
    schema.migrate(connection, steps)
    first = schema.version(connection)
    steps[first + 1] = "CREATE TABLE later (x);\n-- a comment\nINSERT INTO later VALUES ('a;b');"
    schema.migrate(connection, steps)
    schema.migrate(connection, steps)
    assert schema.version(connection) == first + 1
    assert connection.execute("SELECT x FROM later").fetchall() == [("a;b",)]


def test_a_step_that_fails_leaves_nothing(connection: sqlite3.Connection) -> None:
    steps = {**schema.migrations()}
    schema.migrate(connection, steps)
    now = schema.version(connection)
    steps[now + 1] = "CREATE TABLE later (x);\nINSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(connection, steps)
    assert schema.version(connection) == now
    assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name='later'").fetchall() == []


def test_a_newer_database_is_refused(connection: sqlite3.Connection) -> None:
    steps = schema.migrations()
    newer = max(steps) + 1
    schema.migrate(connection, {**steps, newer: "CREATE TABLE later (x);"})
    with pytest.raises(errors.FailedPreconditionError, match=f"version {newer} "):
        schema.migrate(connection, schema.migrations())


def test_versions_that_disagree_are_damage(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, schema.migrations())
    connection.execute("PRAGMA user_version=77")
    with pytest.raises(errors.DataLossError, match="77 in the header"):
        schema.version(connection)


def test_a_damaged_fact_is_unknown(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, schema.migrations())
    sql, *values = schema.meta_statement("boot_id", "abc")
    connection.execute(sql, values)
    assert schema.read_meta(connection, "boot_id") == "abc"
    connection.execute("UPDATE meta SET value = 'abd' WHERE name = 'boot_id'")
    assert schema.read_meta(connection, "boot_id") is None
