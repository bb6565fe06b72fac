from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cri.cli.client import connect
from cri.cli.daemon import Daemon
from tests.serving import Parts, serving


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def address(parts: Parts, tmp_path: Path) -> AsyncIterator[str]:
    """Serve fakes on a real socket."""
    async with serving(parts, tmp_path):
        yield str(tmp_path / "ferry.sock")


@pytest.fixture
async def daemon(address: str) -> AsyncIterator[Daemon]:
    async with connect(address) as connected:
        yield connected
