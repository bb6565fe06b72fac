import asyncio
import os
from pathlib import Path

import pytest

from runtime.monitor import logfile
from store.errors import Error, InvalidArgumentError, UnavailableError


def test_the_file_is_made_for_the_owner_and_the_group(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    before = os.umask(0)
    try:
        logfile.prepare(log)
    finally:
        os.umask(before)
    assert log.stat().st_mode & 0o7777 == 0o640
    assert log.read_bytes() == b""


def test_a_plain_file_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("kept")
    logfile.prepare(log)
    assert log.read_text() == "kept"


def test_a_fifo_with_a_reader_is_refused_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(InvalidArgumentError, match="not a plain file"):
        logfile.prepare(log)
    os.close(reader)


def test_a_dangling_link_makes_nothing_elsewhere(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidArgumentError):
        logfile.prepare(log)
    assert not (tmp_path / "elsewhere").exists()


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises((InvalidArgumentError, Error), match="log_path"):
        logfile.prepare(tmp_path / ("x" * 300))


async def test_reopen_returns_when_the_file_is_another(tmp_path: Path) -> None:
    log, control = tmp_path / "a.log", tmp_path / "ctl"
    log.write_text("old")
    (tmp_path / "a.log.tmp").symlink_to(tmp_path / "canary")
    os.mkfifo(control)
    reader = os.open(control, os.O_RDONLY | os.O_NONBLOCK)

    async def monitor() -> bytes:
        await asyncio.sleep(0.03)
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").rename(log)
        return os.read(reader, 100)

    async with asyncio.TaskGroup() as group:
        heard = group.create_task(monitor())
        await logfile.reopen(log, control)
        assert log.read_text() == "new"
    assert heard.result() == b"2 0 0\n"
    assert not (tmp_path / "a.log.tmp").is_symlink()
    os.close(reader)


@pytest.mark.parametrize("kind", ["missing", "no reader", "link"])
async def test_nobody_listens(tmp_path: Path, kind: str) -> None:
    log, control = tmp_path / "a.log", tmp_path / "ctl"
    if kind == "no reader":
        os.mkfifo(control)
    elif kind == "link":
        control.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="does not listen"):
        await logfile.reopen(log, control)
    assert not log.exists()
    assert not (tmp_path / "elsewhere").exists()
