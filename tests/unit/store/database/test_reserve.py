import errno
import os
from pathlib import Path

import pytest

from store.database.reserve import Reserve
from tests.listing import listing


def test_space_is_allocated_and_given_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    reserve.fill()
    reserve.fill()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
    assert reserve.free() is True
    assert reserve.free() is False
    assert listing(tmp_path) == []


def test_a_disk_without_room_gets_no_half_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, f"no room for {size} at {offset} in {fd}")

    monkeypatch.setattr(os, "posix_fallocate", full)
    Reserve(tmp_path / "reserve", 1 << 20).fill()
    assert listing(tmp_path) == []
