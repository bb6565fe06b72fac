from collections.abc import Iterator
from pathlib import Path

import pytest

from store.content import ContentStore
from store.content.local import LocalContent
from store.content.memory import MemoryContent
from store.database import Database
from tests.contracts.content import ContentContract
from tests.listing import descriptors


class TestMemoryContent(ContentContract):
    @pytest.fixture
    def content(self) -> Iterator[ContentStore]:
        before = descriptors()
        content = MemoryContent()
        yield content
        content.close()
        assert descriptors() <= before


class TestLocalContent(ContentContract):
    @pytest.fixture
    def content(self, tmp_path: Path) -> Iterator[ContentStore]:
        with Database(tmp_path / "state.db") as database:
            yield LocalContent(tmp_path / "content", database)
