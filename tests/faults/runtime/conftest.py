from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database
from tests.podnode import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    database = Database(tmp_path / "state.db")
    made = Ground(tmp_path, database)
    made.layout.pods.mkdir(parents=True)
    made.layout.containers.mkdir()
    yield made
    database.close()
