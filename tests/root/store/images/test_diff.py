"""Layers made of changes give the changed tree again."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.errors import FailedPreconditionError
from store.images.layers.diff import of_trees, of_upper
from tests.growing import change, grow
from tests.tars import read
from tests.trees import Node, described
from tests.unpacking import Bench

pytestmark = pytest.mark.root


@contextmanager
def overlay(at: Path, *lowers: Path, upper: Path | None = None) -> Iterator[Path]:
    """Mount `lowers`, topmost first, and an upper directory if changes are wanted."""
    at.mkdir(exist_ok=True)
    layers = [*lowers] if len(lowers) > 1 or upper else [*lowers, empty(at)]
    options = f"lowerdir={':'.join(str(layer) for layer in layers)},redirect_dir=nofollow"
    if upper is not None:
        work = at.with_name("work")
        work.mkdir(exist_ok=True)
        options += f",upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def empty(at: Path) -> Path:
    path = at.with_name("empty")
    path.mkdir(exist_ok=True)
    return path


def comparable(root: Path) -> dict[bytes, Node]:
    """A copied-up file is an inode of its own, so hard links are not compared across layers."""
    return {
        name: node._replace(first=b"", attributes=kept(node))
        for name, node in described(root).items()
    }


def kept(node: Node) -> dict[str, bytes]:
    return {name: value for name, value in node.attributes.items() if name.startswith("user.")}


def tree(root: Path, seed: int) -> Path:
    root.mkdir()
    grow(root, seed)
    return root


def copy(root: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", root, to], check=True)
    return to


@pytest.mark.parametrize("seed", range(12))
async def test_changes_on_an_overlay(bench: Bench, tmp_path: Path, seed: int) -> None:
    lower, upper = tree(tmp_path / "lower", seed), tmp_path / "upper"
    upper.mkdir()
    with overlay(tmp_path / "merged", lower, upper=upper) as merged:
        change(merged, seed)
        wanted = comparable(merged)
    layer = await bench.layer(b"".join(of_upper(upper)), lower)
    with overlay(tmp_path / "merged", layer, lower) as merged:
        assert comparable(merged) == wanted
    assert b"".join(of_upper(layer)) == b"".join(of_upper(upper))


@pytest.mark.parametrize("seed", range(12))
async def test_changes_between_two_trees(bench: Bench, tmp_path: Path, seed: int) -> None:
    lower = tree(tmp_path / "lower", seed)
    upper = copy(lower, tmp_path / "upper")
    change(upper, seed)
    wanted = comparable(upper)
    layer = await bench.layer(b"".join(of_trees(lower, upper)), lower)
    with overlay(tmp_path / "merged", layer, lower) as merged:
        assert comparable(merged) == wanted


def test_no_changes_are_an_empty_layer(tmp_path: Path) -> None:
    lower = tree(tmp_path / "lower", 1)
    upper = copy(lower, tmp_path / "upper")
    assert read(b"".join(of_trees(lower, upper))) == []


def test_content_is_compared_where_the_time_is_whole(tmp_path: Path) -> None:
    for name, text in (("lower", "one"), ("upper", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)
        os.utime(tmp_path / name / "f", (5, 5))
        os.utime(tmp_path / name, (5, 5))
    found = read(b"".join(of_trees(tmp_path / "lower", tmp_path / "upper")))
    assert [(entry.name, data) for entry, data in found] == [(b"f", b"two")]


def test_hard_links_stay_together(tmp_path: Path) -> None:
    (tmp_path / "upper/d").mkdir(parents=True)
    (tmp_path / "upper/d/one").write_text("x")
    os.link(tmp_path / "upper/d/one", tmp_path / "upper/two")
    found = read(b"".join(of_upper(tmp_path / "upper")))
    assert [(entry.name, entry.link, data) for entry, data in found] == [
        (b"./", b"", b""),
        (b"d/", b"", b""),
        (b"d/one", b"", b"x"),
        (b"two", b"d/one", b""),
    ]


def test_an_attribute_that_pax_cannot_name_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    for name in ("user.a=b", "user.c"):
        os.setxattr(tmp_path / "upper", name, b"1")
    ((root, _),) = read(b"".join(of_upper(tmp_path / "upper")))
    assert root.attributes == ((b"user.c", b"1"),)


def test_sockets_are_left_out(tmp_path: Path) -> None:
    for name in ("lower", "upper"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/was").touch()
    for name in ("was", "new"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "upper" / name))
    found = read(b"".join(of_trees(tmp_path / "lower", tmp_path / "upper")))
    assert [entry.name for entry, _ in found if entry.name != b"./"] == [b".wh.was"]
    assert len(read(b"".join(of_upper(tmp_path / "upper")))) == 1


@pytest.mark.parametrize("attribute", ["redirect", "metacopy"])
def test_an_upper_that_is_not_whole_is_refused(tmp_path: Path, attribute: str) -> None:
    (tmp_path / "upper/d").mkdir(parents=True)
    os.setxattr(tmp_path / "upper/d", f"trusted.overlay.{attribute}", b"/other")
    with pytest.raises(FailedPreconditionError, match=f"'d' has the attribute .*{attribute}"):
        list(of_upper(tmp_path / "upper"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("secret")
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper/link").symlink_to("../canary")
    assert b"secret" not in b"".join(of_upper(tmp_path / "upper"))


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    upper = tree(tmp_path / "upper", 3)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["tar", "-x", "--xattrs", "--numeric-owner", "-C", tmp_path / "out"],
        input=b"".join(of_upper(upper)),
        check=True,
    )
    assert described(tmp_path / "out") == described(upper)
    shutil.rmtree(tmp_path / "out")
