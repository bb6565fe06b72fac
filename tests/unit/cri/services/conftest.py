from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.serving import Clients, Parts, serving


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def clients(parts: Parts, tmp_path: Path) -> AsyncIterator[Clients]:
    async with serving(parts, tmp_path) as connected:
        yield connected
