import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import watch
from runtime.watch import DirectoryWatch
from tests.listing import descriptors

SOON = 5.0


def write(path: Path) -> None:
    (path / "file").write_text("x")


def replace(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.mkdir()
    write(path)


CHANGES: list[Callable[[Path], object]] = [
    write,
    lambda path: (path / "kept").unlink(),
    lambda path: (path / "kept").rename(path / "renamed"),
    lambda path: (path / "link").symlink_to("kept"),
    lambda path: (path / "kept").chmod(0),
    shutil.rmtree,
    replace,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_noticed(tmp_path: Path, change: Callable[[Path], object]) -> None:
    directory = tmp_path / "net.d"
    directory.mkdir()
    (directory / "kept").touch()
    with DirectoryWatch(directory) as watched:
        assert not await watched.changed(0.01)
        change(directory)
        assert await watched.changed(SOON)
        assert not await watched.changed(0.01)


async def test_a_directory_that_comes_late_is_noticed_with_what_is_put_there(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "etc/cni/net.d"
    before = descriptors()
    with DirectoryWatch(directory) as watched:
        (tmp_path / "etc").mkdir()
        assert await watched.changed(SOON)
        (tmp_path / "etc/cni").mkdir()
        assert await watched.changed(SOON)
        directory.mkdir()
        assert await watched.changed(SOON)
        write(directory)
        assert await watched.changed(SOON)
    assert descriptors() <= before


async def test_a_link_that_is_turned_elsewhere_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "net.d"
    link.symlink_to("one")
    with DirectoryWatch(link) as watched:
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").rename(link)
        assert await watched.changed(SOON)
        write(tmp_path / "two")
        assert await watched.changed(SOON)


async def test_what_happens_between_two_calls_is_noticed(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watched:
        assert not await watched.changed(0.01)
        write(tmp_path)
        await asyncio.sleep(0)
        assert await watched.changed(SOON)


class NoInotify:
    def __init__(self) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_without_inotify_time_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "Inotify", NoInotify)
    with DirectoryWatch(tmp_path) as watched:
        write(tmp_path)
        assert not await watched.changed(0.01)
    assert f"cannot watch {tmp_path}, looking at intervals: [Errno 24]" in caplog.text
