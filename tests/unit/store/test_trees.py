import os
from pathlib import Path

import pytest

from store import errors, trees
from tests.listing import descriptors, listing


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    trees.remove_tree(tmp_path / "missing")


def test_a_file_and_a_link_are_removed_without_following(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(b"alive")
    (tmp_path / "link").symlink_to(canary)
    trees.remove_tree(tmp_path / "link")
    assert canary.read_bytes() == b"alive"
    trees.remove_tree(canary)
    assert listing(tmp_path) == []


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "canary").write_bytes(b"alive")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "link").symlink_to(outside)
    (tree / "top").symlink_to(outside)
    trees.remove_tree(tree)
    assert (outside / "canary").read_bytes() == b"alive"
    assert outside.stat().st_mode & 0o777 == 0o750
    assert listing(tmp_path) == ["outside"]


def test_modes_in_the_way_are_changed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("unreadable", "unwritable", "unsearchable"):
        (tree / name / "inner").mkdir(parents=True)
        (tree / name / "inner" / "file").touch(0o000)
    (tree / "unreadable").chmod(0o300)
    (tree / "unwritable").chmod(0o500)
    (tree / "unwritable" / "inner").chmod(0o500)
    (tree / "unsearchable").chmod(0o600)
    tree.chmod(0o000)
    trees.remove_tree(tree)
    assert listing(tmp_path) == []


def deep(tree: Path, levels: int) -> None:
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deeper", dir_fd=fd)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def test_depth_beyond_path_and_recursion_limits(tmp_path: Path) -> None:
    deep(tmp_path / "tree", 1500)
    trees.remove_tree(tmp_path / "tree")
    assert listing(tmp_path) == []


def test_names_of_every_byte(tmp_path: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"x" * 255):
        directory = tmp_path / "tree" / os.fsdecode(name)
        directory.mkdir(parents=True)
        (directory / "file").touch()
    trees.remove_tree(tmp_path / "tree")
    assert listing(tmp_path) == []


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = descriptors()
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    trees.remove_tree(tmp_path / "tree")
    assert descriptors() <= before


def test_a_failure_names_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "file").touch()

    def busy(name: str, *, dir_fd: int) -> None:
        raise OSError(16, f"busy {name} {dir_fd}")

    monkeypatch.setattr(os, "unlink", busy)
    with pytest.raises(errors.Error, match=str(tmp_path / "tree")):
        trees.remove_tree(tmp_path / "tree")


def test_measure_counts_blocks_and_inodes_with_links_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    empty = trees.measure(tree)
    assert empty.inodes == 2
    (tree / "a" / "file").write_bytes(bytes(100_000))
    (tree / "link").hardlink_to(tree / "a" / "file")
    (tree / "symlink").symlink_to("/etc")
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    full = trees.measure(tree)
    assert full.inodes == 5
    assert 100_000 <= full.bytes - empty.bytes <= 110_000


def test_measure_has_no_limit_in_depth_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    deep(tmp_path / "tree", 1500)
    assert trees.measure(tmp_path / "tree").inodes == 1501
    assert descriptors() <= before
    trees.remove_tree(tmp_path / "tree")


def test_measure_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFoundError, match="missing"):
        trees.measure(tmp_path / "missing")


def test_what_vanishes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "gone").mkdir(parents=True)
    real = trees._entries

    def late(directory: trees._Directory) -> list[tuple[str, os.stat_result]]:
        found = real(directory)
        trees.remove_tree(tmp_path / "tree" / "gone")
        return found

    monkeypatch.setattr(trees, "_entries", late)
    assert trees.measure(tmp_path / "tree").inodes == 2
