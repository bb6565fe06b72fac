import select
from pathlib import Path

import pytest

from runtime.kernel.inotify import CONTENTS, NAMES, Inotify
from tests.listing import descriptors


def noticed(inotify: Inotify) -> bool:
    select.select([inotify.fileno()], [], [], 0)
    return inotify.drain()


def test_contents_are_noticed_and_names_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    before = descriptors()
    inotify = Inotify()
    inotify.watch({tmp_path / "a": CONTENTS, tmp_path / "b": NAMES, tmp_path / "none": CONTENTS})
    assert not noticed(inotify)
    (tmp_path / "a/file").write_text("x")
    assert noticed(inotify)
    (tmp_path / "b/file").write_text("x")
    assert not noticed(inotify)
    (tmp_path / "b/file").rename(tmp_path / "b/other")
    assert noticed(inotify)
    inotify.watch({tmp_path / "b": NAMES})
    (tmp_path / "a/file").write_text("y")
    assert not noticed(inotify)
    inotify.close()
    assert descriptors() <= before


def test_a_directory_that_goes_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    inotify = Inotify()
    inotify.watch({tmp_path / "a": CONTENTS})
    (tmp_path / "a").rmdir()
    assert noticed(inotify)
    inotify.watch({})
    inotify.close()


def test_a_refusal_says_what_was_tried(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    inotify = Inotify()
    with pytest.raises(OSError, match=f"inotify_add_watch {loop}: Too many levels"):
        inotify.watch({loop: NAMES})
    inotify.close()
