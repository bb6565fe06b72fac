import os
import stat
from pathlib import Path

import pytest

from store.errors import DataLossError
from store.images.layers.tree import Tree, is_whiteout


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(os.fsencode(tmp_path) + b"/")


def write(tree: Tree, name: bytes, data: bytes = b"") -> None:
    fd = tree.file(name, 0o600)
    os.write(fd, data)
    os.close(fd)


def test_parents_are_implied_until_they_are_described(tree: Tree, tmp_path: Path) -> None:
    write(tree, b"a/b/c", b"x")
    assert tree.implied == {b"", b"a", b"a/b"}
    tree.directory(b"a")
    tree.directory(b"")
    assert tree.implied == {b"a/b"}
    assert (tmp_path / "a/b/c").read_bytes() == b"x"
    assert (tree.directories, tree.inodes) == (2, 3)


def test_directories_are_closed_until_they_are_described(tree: Tree, tmp_path: Path) -> None:
    tree.directory(b"d")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


def test_a_file_replaces_whatever_was_there(tree: Tree, tmp_path: Path) -> None:
    write(tree, b"a/b/c")
    write(tree, b"a", b"file")
    assert (tmp_path / "a").read_bytes() == b"file"
    with pytest.raises(DataLossError, match="'a' is in its way"):
        write(tree, b"a/b")


def test_a_file_never_writes_through_a_link(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    tree.symlink(b"link", b"target")
    write(tree, b"link", b"new")
    assert (tmp_path / "target").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()


def test_a_directory_that_replaces_something_hides_what_is_below(tree: Tree) -> None:
    write(tree, b"d")
    tree.directory(b"d")
    assert tree.opaque == {b"d"}


def test_links_to_directories_are_followed(tree: Tree, tmp_path: Path) -> None:
    tree.directory(b"real")
    tree.symlink(b"alias", b"real")
    write(tree, b"alias/x", b"x")
    assert (tmp_path / "real/x").read_bytes() == b"x"
    assert tree.implied == {b""}


def test_a_dangling_link_is_in_the_way(tree: Tree) -> None:
    tree.symlink(b"alias", b"nowhere")
    with pytest.raises(DataLossError, match="'alias' is in its way"):
        write(tree, b"alias/x")


def test_hard_links(tree: Tree, tmp_path: Path) -> None:
    write(tree, b"f", b"x")
    assert tree.link(b"d/l", b"f")
    assert tree.link(b"f", b"f")
    assert (tmp_path / "d/l").stat().st_nlink == 2
    assert tree.inodes == 2


def test_a_hard_link_to_nothing_leaves_room_for_later(tree: Tree, tmp_path: Path) -> None:
    write(tree, b"d/l", b"old")
    assert not tree.link(b"d/l", b"elsewhere")
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize("target", [b"d", b"s"])
def test_a_hard_link_needs_a_file(tree: Tree, target: bytes) -> None:
    tree.directory(b"d")
    tree.symlink(b"s", b"d")
    with pytest.raises(DataLossError, match="which is no file"):
        tree.link(b"l", target)


@pytest.mark.parametrize("name", [b"", b"d"])
def test_hiding_all_in_a_directory(tree: Tree, name: bytes) -> None:
    tree.hide_all_in(name)
    assert tree.opaque == {name}
    assert tree.implied == {b"", name}


def test_hiding_what_the_layer_has(tree: Tree) -> None:
    tree.directory(b"d")
    write(tree, b"f", b"x")
    write(tree, b"implied/x")
    tree.hide(b"d")
    tree.hide(b"f")
    tree.hide(b"implied")
    assert tree.opaque == {b"d", b"implied"}
    assert tree.implied == {b""}
    assert tree.hidden == set()


def test_the_root_is_a_directory(tree: Tree) -> None:
    with pytest.raises(DataLossError, match="can only be a directory"):
        tree.symlink(b"", b"x")


@pytest.mark.root
def test_hiding_makes_a_whiteout_that_gives_way(tree: Tree, tmp_path: Path) -> None:
    tree.hide(b"a/gone")
    assert is_whiteout((tmp_path / "a/gone").lstat())
    assert tree.hidden == {b"a/gone"}
    assert not tree.link(b"l", b"a/gone")
    write(tree, b"a/gone/file")
    assert tree.opaque == {b"a/gone"}
    assert b"a/gone" not in tree.implied
