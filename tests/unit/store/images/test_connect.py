import subprocess
import sys
from pathlib import Path

import pytest

from store.errors import FailedPreconditionError
from store.images import reference
from store.images.connect import RegistryConnector


def test_a_daemon_that_does_not_pull_does_not_load_the_http_library() -> None:
    program = "import sys, store.images.store; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


async def test_a_malformed_file_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "x.io").mkdir()
    (tmp_path / "x.io" / "hosts.toml").write_text("nonsense = 1")
    connection = RegistryConnector((tmp_path,)).connect(reference.parse("x.io/a"), None)
    with pytest.raises(FailedPreconditionError, match=r"x\.io/hosts\.toml: .*nonsense"):
        await connection.__aenter__()
