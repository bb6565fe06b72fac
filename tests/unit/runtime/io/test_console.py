import os
import pty
import socket
import struct
from pathlib import Path

import pytest

from runtime.io import Size
from runtime.io.console import Console, packed
from store.errors import Error, ResourceExhaustedError
from tests.leaks import nothing_kept


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        (Size(width=80, height=24), 24, 80),
        (Size(width=-1, height=1 << 20), 65535, 0),
    ],
)
def test_a_size_is_the_kernels(size: Size, rows: int, columns: int) -> None:
    assert struct.unpack("HHHH", packed(size)) == (rows, columns, 0, 0)


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_the_terminal_a_runtime_sends_is_used_and_let_go(tmp_path: Path) -> None:
    async with nothing_kept():
        master, slave = pty.openpty()
        with Console(tmp_path, "console") as console:
            path = console.options[console.options.index("--console-socket") + 1]
            with socket.socket(socket.AF_UNIX) as runtime:
                runtime.connect(path)
                socket.send_fds(runtime, [b"tty"], [master])
            os.close(master)
            console.started()
            console.opened()
            console.resize(Size(width=99, height=33))
            assert os.get_terminal_size(slave) == (99, 33)
            assert console.stdin is not None
            assert console.stdout is not None
            assert await console.stdin.write(b"typed\n")
            assert os.read(slave, 100) == b"typed\n"
            os.write(slave, b"shown\n")
            shown = b""
            while b"shown" not in shown:
                shown += await console.stdout.read()
        os.close(slave)
        assert files(tmp_path) == []


async def test_a_runtime_that_sends_none_is_an_error(tmp_path: Path) -> None:
    with Console(tmp_path, "console") as console, pytest.raises(Error, match="the runtime sent no"):
        console.opened()


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceExhaustedError), Console(tmp_path / "none", "console"):
        pass
