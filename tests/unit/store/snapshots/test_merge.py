import os
from pathlib import Path

import pytest

from store import errors
from store.snapshots.merge import merge
from tests.listing import listing


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    return layer


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    return target


async def test_everything_is_copied_as_it_is(layer: Path, target: Path) -> None:
    (layer / "directory").mkdir(mode=0o700)
    (layer / "directory" / "file").write_text("x")
    (layer / "directory" / "file").chmod(0o4755)
    (layer / "link").hardlink_to(layer / "directory" / "file")
    (layer / "symlink").symlink_to("/nowhere")
    os.utime(layer / "directory" / "file", ns=(1, 1_000_000_001))
    await merge(layer, target)
    copied = (target / "directory" / "file").stat()
    assert (copied.st_mode & 0o7777, copied.st_mtime_ns) == (0o4755, 1_000_000_001)
    assert (target / "link").stat().st_ino == copied.st_ino
    assert (target / "symlink").readlink() == Path("/nowhere")
    assert (target / "directory").stat().st_mode & 0o777 == 0o700


async def test_a_type_replaces_another(layer: Path, target: Path) -> None:
    (target / "was-directory" / "inner").mkdir(parents=True)
    (layer / "was-directory").write_text("file")
    (target / "was-file").write_text("file")
    (layer / "was-file").mkdir()
    (layer / "was-file" / "inner").touch()
    await merge(layer, target)
    assert (target / "was-directory").read_text() == "file"
    assert listing(target / "was-file") == ["inner"]


async def test_a_link_below_is_replaced_and_never_followed(
    layer: Path, target: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    (target / "directory").symlink_to(outside)
    (target / "file").symlink_to(outside / "canary")
    (layer / "directory").mkdir()
    (layer / "directory" / "canary").write_text("new")
    (layer / "file").write_text("new")
    await merge(layer, target)
    assert (outside / "canary").read_text() == "alive"
    assert listing(outside) == ["canary"]
    assert (target / "directory" / "canary").read_text() == "new"
    assert not (target / "file").is_symlink()


async def test_directories_of_both_are_joined(layer: Path, target: Path) -> None:
    (target / "directory").mkdir(mode=0o700)
    (target / "directory" / "old").touch()
    (layer / "directory").mkdir()
    (layer / "directory").chmod(0o755)
    (layer / "directory" / "new").touch()
    await merge(layer, target)
    assert listing(target / "directory") == ["new", "old"]
    assert (target / "directory").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make whiteouts")
async def test_whiteouts_and_opaque_directories_hide_and_are_not_copied(
    layer: Path, target: Path
) -> None:
    (target / "directory" / "old").mkdir(parents=True)
    (target / "gone" / "inner").mkdir(parents=True)
    (target / "kept").touch()
    os.mknod(layer / "gone", 0o020000, 0)
    os.mknod(layer / "never-was", 0o020000, 0)
    (layer / "directory").mkdir()
    (layer / "directory" / "new").touch()
    os.setxattr(layer / "directory", "trusted.overlay.opaque", b"y")
    await merge(layer, target)
    assert listing(target) == ["directory", "kept"]
    assert listing(target / "directory") == ["new"]
    assert os.listxattr(target / "directory") == []


async def test_a_copy_that_fails_says_why(layer: Path, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "target"
    with pytest.raises(errors.Error, match=rf"cannot copy {layer} to {target}: cp: "):
        await merge(layer, target)
