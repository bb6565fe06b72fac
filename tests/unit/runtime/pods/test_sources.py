from pathlib import Path

import pytest

from runtime.pods import sources
from runtime.spec import MountRequest
from store.errors import InvalidArgumentError


def test_a_symlink_is_followed_and_a_missing_directory_made(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = sources.resolve(
        (
            MountRequest(container_path="/a", host_path=str(tmp_path / "link")),
            MountRequest(container_path="/b", host_path=str(tmp_path / "new" / "deep")),
        )
    )
    assert found == {"/a": tmp_path / "real", "/b": tmp_path / "new" / "deep"}
    assert (tmp_path / "new" / "deep").is_dir()


def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    mount = MountRequest(container_path="/a", host_path=str(tmp_path / "file" / "below"))
    with pytest.raises(InvalidArgumentError, match="file/below"):
        sources.resolve((mount,))


def test_a_log_path_gets_its_directories(tmp_path: Path) -> None:
    path = sources.log_file(str(tmp_path / "pod"), "main/0.log")
    assert path == tmp_path / "pod" / "main" / "0.log"
    assert path.parent.is_dir()


def test_no_log_where_none_is_asked(tmp_path: Path) -> None:
    assert sources.log_file("", "main/0.log") is None
    assert sources.log_file(str(tmp_path), "") is None


@pytest.mark.parametrize("link", ["main", "main/0.log"])
def test_no_symlink_is_followed_below_the_pods_directory(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "pod" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    with pytest.raises(InvalidArgumentError, match="symlink"):
        sources.log_file(str(tmp_path / "pod"), "main/0.log")
