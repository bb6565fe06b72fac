import logging
import os
from pathlib import Path

import pytest

from store.trash import Trash
from tests.listing import listing


def test_what_is_taken_is_gone_at_once_and_freed_soon(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    for number in range(5):
        tree = tmp_path / f"tree{number}"
        (tree / "a").mkdir(parents=True)
        (tree / "a" / "file").touch()
        trash.take(tree)
        assert not tree.exists()
    trash.take(tmp_path / "missing")
    trash.wait()
    assert listing(tmp_path / "trash") == []
    assert listing(tmp_path) == ["trash"]


def test_empty_frees_what_an_earlier_process_left(tmp_path: Path) -> None:
    (tmp_path / "trash" / "left" / "over").mkdir(parents=True)
    (tmp_path / "trash" / "file").touch()
    trash = Trash(tmp_path / "trash")
    assert listing(tmp_path / "trash") == ["file", "left"]
    trash.empty()
    assert listing(tmp_path / "trash") == []


def test_what_cannot_be_removed_is_said_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trash = Trash(tmp_path / "trash")
    (tmp_path / "file").touch()

    def busy(path: Path) -> None:
        raise OSError(16, f"busy: {path}")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Path, "unlink", busy)
        trash.take(tmp_path / "file")
        trash.wait()
    assert "left in the trash: cannot remove" in caplog.text
    assert len(os.listdir(tmp_path / "trash")) == 1  # noqa: PTH208 - the name is random
    trash.empty()
    assert listing(tmp_path / "trash") == []
