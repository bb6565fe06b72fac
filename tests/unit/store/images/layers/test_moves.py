import os
import stat
from pathlib import Path

import pytest

from store.errors import DataLossError
from store.images import Unfinished
from store.images.layers.completion import complete
from tests.trees import described

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """An upper directory with `lib/x`, on one where `lib` is a link to `usr/lib`."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    (upper / "lib").mkdir(parents=True)
    (upper / "lib/x").write_text("x")
    (lower / "usr/lib").mkdir(parents=True)
    (lower / "usr/lib").chmod(0o711)
    (lower / "lib").symlink_to("usr/lib")
    return upper, lower


def names(upper: Path) -> list[bytes]:
    return sorted(described(upper, attributes=False))


def test_the_content_goes_where_the_link_leads(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    complete(Unfinished(implied=(b"", b"lib")), upper, (lower,))
    assert names(upper) == [b"", b"usr", b"usr/lib", b"usr/lib/x"]
    assert stat.S_IMODE((upper / "usr/lib").stat().st_mode) == 0o711


@pytest.mark.parametrize("text", ["/usr/lib", "./usr//lib/", "../../usr/lib", "other"])
def test_however_the_link_is_written(layers: tuple[Path, Path], text: str) -> None:
    upper, lower = layers
    (lower / "lib").unlink()
    (lower / "lib").symlink_to(text)
    (lower / "other").symlink_to("/usr/../lib64")
    (lower / "lib64").symlink_to("usr/lib")
    complete(Unfinished(implied=(b"lib",)), upper, (lower,))
    assert (upper / "usr/lib/x").read_text() == "x"
    assert not (upper / "lib").exists()


@pytest.mark.parametrize("text", ["nowhere", "lib", "loop", "file", "/etc", "lib/inner"])
def test_a_link_that_leads_nowhere_is_hidden(layers: tuple[Path, Path], text: str) -> None:
    upper, lower = layers
    (lower / "lib").unlink()
    (lower / "lib").symlink_to(text)
    (lower / "loop").symlink_to("loop")
    (lower / "file").touch()
    complete(Unfinished(implied=(b"lib",)), upper, (lower,))
    assert names(upper) == [b"", b"lib", b"lib/x"]


def test_what_the_layer_has_at_both_places_is_merged(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    (upper / "lib/d").mkdir()
    (upper / "lib/d/new").touch()
    (upper / "usr/lib/d").mkdir(parents=True)
    (upper / "usr/lib/d").chmod(0o700)
    (upper / "usr/lib/x").write_text("older")
    (lower / "usr/lib/d").mkdir(0o755)
    complete(Unfinished(implied=(b"lib", b"lib/d", b"usr")), upper, (lower,))
    assert (upper / "usr/lib/x").read_text() == "x"
    assert (upper / "usr/lib/d/new").exists()
    assert stat.S_IMODE((upper / "usr/lib/d").stat().st_mode) == 0o700


def test_a_file_and_a_directory_cannot_be_merged(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    (upper / "usr/lib/x").mkdir(parents=True)
    with pytest.raises(DataLossError, match="entry 'lib/x': 'usr/lib/x' is in its way"):
        complete(Unfinished(implied=(b"lib",)), upper, (lower,))


def test_marks_and_links_go_along(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    (lower / "usr/lib/t").write_text("t")
    (upper / "lib/sub").mkdir()
    unfinished = Unfinished(
        implied=(b"lib",), opaque=(b"lib/sub",), links=((b"lib/l", b"lib/t"), (b"lib/k", b"lib/x"))
    )
    complete(unfinished, upper, (lower,))
    assert os.getxattr(upper / "usr/lib/sub", "trusted.overlay.opaque") == b"y"
    assert (upper / "usr/lib/l").read_text() == "t"
    assert (upper / "usr/lib/k").stat().st_ino == (upper / "usr/lib/x").stat().st_ino


def test_a_described_directory_takes_the_place_of_the_link(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    complete(Unfinished(implied=(b"",)), upper, (lower,))
    assert names(upper) == [b"", b"lib", b"lib/x"]
