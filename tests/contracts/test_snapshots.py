from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database
from store.snapshots import Snapshotter
from store.snapshots.native import NativeSnapshotter
from store.snapshots.overlay import OverlaySnapshotter
from tests.contracts.snapshots import SnapshotterContract


class TestOverlaySnapshotter(SnapshotterContract):
    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Iterator[Snapshotter]:
        with Database(tmp_path / "state.db") as database:
            yield OverlaySnapshotter(tmp_path / "snapshots", database)


class TestNativeSnapshotter(SnapshotterContract):
    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Iterator[Snapshotter]:
        with Database(tmp_path / "state.db") as database:
            yield NativeSnapshotter(tmp_path / "snapshots", database)
