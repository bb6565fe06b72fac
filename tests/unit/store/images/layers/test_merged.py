import os
from pathlib import Path

import pytest

from store.images.layers.merged import OPAQUE, Merged

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Two layers, topmost first, that both have `d`."""
    found = [tmp_path / "top", tmp_path / "base"]
    for layer in found:
        (layer / "d").mkdir(parents=True)
        (layer / "d" / layer.name).touch()
    return found


def whiteout(path: Path) -> None:
    os.mknod(path, 0o020000, os.makedev(0, 0))


def depth(layers: list[Path], path: bytes) -> int | None:
    """Which of `layers` shows at `path`."""
    with Merged.opened(layers) as merged:
        found = merged.find(path)
        return None if found is None else merged.layers.index(found.layer)


def test_the_topmost_is_visible(layers: list[Path]) -> None:
    assert (depth(layers, b"d"), depth(layers, b"d/base"), depth(layers, b"x")) == (0, 1, None)


def test_a_whiteout_hides(layers: list[Path]) -> None:
    whiteout(layers[0] / "d/base")
    assert depth(layers, b"d/base") is None


def test_whatever_is_no_directory_hides_what_is_below_it(layers: list[Path]) -> None:
    for name, make in (("w", whiteout), ("f", Path.touch)):
        (layers[1] / name).mkdir()
        (layers[1] / name / "x").touch()
        make(layers[0] / name)
        assert depth(layers, f"{name}/x".encode()) is None


def test_an_opaque_directory_hides(layers: list[Path]) -> None:
    os.setxattr(layers[0] / "d", OPAQUE, b"y")
    assert depth(layers, b"d/base") is None
    assert depth(layers, b"d/top") == 0


def test_a_link_is_not_followed(layers: list[Path]) -> None:
    (layers[0] / "link").symlink_to("d")
    assert depth(layers, b"link") == 0
    assert depth(layers, b"link/base") is None


def test_names_are_those_of_every_root(layers: list[Path]) -> None:
    (layers[0] / "only").touch()
    with Merged.opened(layers) as merged:
        assert merged.names() == {b"d", b"only"}


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (b"d/base", b"d/base"),
        (b"/d/./../d", b"d"),
        (b"../../d", b"d"),
        (b"absolute/top", b"d/top"),
        (b"d/up/base", b"d/base"),
        (b"nothing", None),
        (b"nothing/..", None),
        (b"loop", None),
        (b"", b""),
    ],
)
def test_resolving_as_a_process_in_the_image_would(
    layers: list[Path], path: bytes, there: bytes | None
) -> None:
    (layers[0] / "absolute").symlink_to("/d")
    (layers[1] / "d/up").symlink_to("../absolute")
    (layers[1] / "loop").symlink_to("loop")
    with Merged.opened(layers) as merged:
        assert merged.resolve(b"", path) == there
