import os
import stat
from pathlib import Path

import pytest

from store.errors import DataLossError, Error
from store.images import Unfinished
from store.images.layers.completion import complete
from tests.listing import listing

pytestmark = pytest.mark.root


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower").mkdir()
    return tmp_path / "lower"


def test_implied_directories_are_dressed_like_those_below(upper: Path, lower: Path) -> None:
    (upper / "d").mkdir()
    (lower / "d").mkdir()
    os.chown(lower / "d", 3, 4)
    (lower / "d").chmod(0o2751)
    os.setxattr(lower / "d", "user.a", b"1")
    os.setxattr(lower / "d", "trusted.overlay.opaque", b"y")
    os.utime(lower / "d", (1, 2))
    complete(Unfinished(implied=(b"d",)), upper, (lower,))
    found = (upper / "d").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o2751, 3, 4)
    assert found.st_mtime == 2
    assert os.listxattr(upper / "d") == ["user.a"]


@pytest.mark.parametrize("below", ["nothing", "file", "link"])
def test_nothing_to_dress_it_like(upper: Path, lower: Path, below: str) -> None:
    (upper / "d").mkdir(0o755)
    if below == "file":
        (lower / "d").touch(0o600)
    elif below == "link":
        (lower / "d").symlink_to("/")
    complete(Unfinished(implied=(b"d",)), upper, (lower,))
    assert stat.S_IMODE((upper / "d").stat().st_mode) == 0o755


def test_what_went_again_is_passed_over(upper: Path, lower: Path) -> None:
    (upper / "file").touch()
    (lower / "file").mkdir()
    complete(Unfinished(implied=(b"gone", b"file"), opaque=(b"gone", b"file/x")), upper, (lower,))
    assert (upper / "file").is_file()


def test_a_whiteout_that_hides_nothing_goes(upper: Path, lower: Path) -> None:
    (lower / "there").touch()
    for name in ("there", "not-there"):
        os.mknod(upper / name, stat.S_IFCHR, os.makedev(0, 0))
    (upper / "file").touch()
    complete(Unfinished(hidden=(b"there", b"not-there", b"file", b"gone")), upper, (lower,))
    assert listing(upper) == ["file", "there"]


def test_completing_twice_changes_nothing_more(upper: Path, lower: Path) -> None:
    (upper / "d").mkdir()
    (lower / "f").touch()
    unfinished = Unfinished(implied=(b"",), opaque=(b"d",), links=((b"d/l", b"f"),))
    complete(unfinished, upper, (lower,))
    complete(unfinished, upper, (lower,))
    assert (upper / "d/l").stat().st_ino == (upper / "f").stat().st_ino
    assert (upper / "f").stat().st_nlink == 2


def test_a_link_takes_the_place_of_what_another_one_copied(upper: Path, lower: Path) -> None:
    (lower / "t").write_text("t")
    (lower / "u").write_text("u")
    complete(Unfinished(links=((b"l", b"t"), (b"t", b"u"))), upper, (lower,))
    assert [(upper / name).read_text() for name in ("l", "t", "u")] == ["t", "u", "u"]


def test_a_link_to_itself_is_the_file_below(upper: Path, lower: Path) -> None:
    (lower / "t").write_text("t")
    complete(Unfinished(links=((b"t", b"t"),)), upper, (lower,))
    assert (upper / "t").read_text() == "t"


def test_a_large_target_is_copied_whole(upper: Path, lower: Path) -> None:
    content = os.urandom(1 << 20) * 40
    (lower / "f").write_bytes(content)
    complete(Unfinished(links=((b"l", b"f"),)), upper, (lower,))
    assert (upper / "l").read_bytes() == content


@pytest.mark.parametrize("kind", ["nothing", "directory", "fifo", "link", "hidden"])
def test_a_link_to_no_file_is_refused(upper: Path, lower: Path, kind: str) -> None:
    target = lower / "t"
    match kind:
        case "directory":
            target.mkdir()
        case "fifo":
            os.mkfifo(target)
        case "link":
            target.symlink_to("/etc/passwd")
        case "hidden":
            target.touch()
            os.mknod(upper / "t", stat.S_IFCHR, os.makedev(0, 0))
        case _:
            assert kind == "nothing"
    with pytest.raises(DataLossError, match="entry 'l': a hard link to 't'"):
        complete(Unfinished(links=((b"l", b"t"),)), upper, (lower,))
    assert not (upper / "l").exists()


def test_names_that_lead_out_are_not_followed(upper: Path, lower: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir(0o700)
    (tmp_path / "canary/file").write_text("x")
    (upper / "s").symlink_to("../canary")
    (lower / "s").mkdir(0o777)
    unfinished = Unfinished(implied=(b"s",), opaque=(b"s",), links=((b"l", b"s/file"),))
    with pytest.raises(DataLossError):
        complete(unfinished, upper, (lower,))
    assert stat.S_IMODE((tmp_path / "canary").stat().st_mode) == 0o700
    assert os.listxattr(tmp_path / "canary") == []
    assert (tmp_path / "canary/file").stat().st_nlink == 1


def test_a_target_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"cannot complete the layer in .*/absent"):
        complete(Unfinished(opaque=(b"x",)), tmp_path / "absent", ())
