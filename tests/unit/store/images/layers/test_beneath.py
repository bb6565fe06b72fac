import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.images.layers import beneath


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").write_text("canary")
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/file").write_text("x")
    (root / "up").symlink_to("../outside")
    (root / "absolute").symlink_to(tmp_path)
    (root / "inner").symlink_to("a")
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_names_below_are_opened(directory: int) -> None:
    with beneath.opened(directory, b"a/file", beneath.READ) as fd:
        assert os.read(fd, 10) == b"x"
    with beneath.opened(directory, b"", beneath.DIRECTORY) as fd:
        assert os.path.sameopenfile(fd, directory)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"..", errno.EXDEV),
        (b"../outside", errno.EXDEV),
        (b"/etc/passwd", errno.EXDEV),
        (b"a/../../outside", errno.EXDEV),
        (b"up", errno.ELOOP),
        (b"absolute/outside", errno.ELOOP),
        (b"inner/file", errno.ELOOP),
        (b"nothing", errno.ENOENT),
    ],
)
def test_nothing_else_is(directory: int, path: bytes, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        beneath.open_beneath(directory, path, beneath.READ)
    assert caught.value.errno == number


def test_looking_sees_a_link_and_not_through_it(directory: int) -> None:
    link = beneath.look(directory, b"inner")
    assert link is not None
    assert stat.S_ISLNK(link.st_mode)
    assert beneath.look(directory, b"inner/file") is None
    assert beneath.look(directory, b"a/file/x") is None
    assert beneath.look(directory, b"nothing") is None
