import os
from pathlib import Path

import pytest

from runtime.spec.beneath import (
    ensure_directory_in_root,
    find_in_root,
    open_directory_in_root,
    open_in_root,
    read_regular_file,
)
from store.errors import Error, InvalidArgumentError
from tests.listing import descriptors


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    (tmp_path / "rootfs/etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("canary")
    return tmp_path / "rootfs"


def test_missing_directories_are_made_and_present_ones_left_alone(rootfs: Path) -> None:
    (rootfs / "srv").mkdir(mode=0o700)
    ensure_directory_in_root(rootfs, "/srv/a/b/")
    assert (rootfs / "srv/a/b").is_dir()
    assert (rootfs / "srv").stat().st_mode & 0o777 == 0o700
    ensure_directory_in_root(rootfs, "/srv/a/b")
    ensure_directory_in_root(rootfs, "/")
    assert sorted(path.name for path in rootfs.iterdir()) == ["etc", "srv"]


def test_links_are_followed_inside(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "app").symlink_to("/real")
    (rootfs / "real").mkdir()
    (rootfs / "up").symlink_to("../../..")
    ensure_directory_in_root(rootfs, "/app/work")
    ensure_directory_in_root(rootfs, "/up/top")
    assert (rootfs / "real/work").is_dir()
    assert (rootfs / "top").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "rootfs"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("relative", "absolute"),
        ("/proc/self/cwd", "a directory of a process"),
        ("/dangling/x", "File exists"),
        ("/file", "Not a directory"),
        ("/file/x", "Not a directory"),
        ("/loop", "symbolic links"),
    ],
)
def test_what_cannot_be_made_is_refused(rootfs: Path, path: str, text: str) -> None:
    (rootfs / "dangling").symlink_to("/nowhere")
    (rootfs / "file").touch()
    (rootfs / "loop").symlink_to("loop")
    with pytest.raises(InvalidArgumentError, match=text):
        ensure_directory_in_root(rootfs, path)
    assert not (rootfs / "nowhere").exists()


def test_files_are_read_inside_up_to_a_limit(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "etc/f").write_text("12345")
    (rootfs / "etc/link").symlink_to("/etc/f")
    (rootfs / "etc/out").symlink_to(tmp_path / "outside")
    (rootfs / "etc/up").symlink_to("../../outside")
    assert read_regular_file(rootfs, "/etc/f", 5) == b"12345"
    assert read_regular_file(rootfs, "/etc/link", 5) == b"12345"
    assert read_regular_file(rootfs, "/etc/out", 100) is None
    assert read_regular_file(rootfs, "/etc/up", 100) is None
    assert read_regular_file(rootfs, "/etc/f/x", 100) is None
    with pytest.raises(InvalidArgumentError, match="larger than 4 bytes"):
        read_regular_file(rootfs, "/etc/f", 4)


def test_what_is_no_regular_file_is_refused(rootfs: Path) -> None:
    os.mkfifo(rootfs / "etc/fifo")
    (rootfs / "etc/loop").symlink_to("loop")
    for name, text in (("fifo", "not a regular"), ("", "not a regular"), ("loop", "links")):
        with pytest.raises(InvalidArgumentError, match=text):
            read_regular_file(rootfs, f"/etc/{name}", 100)


def test_a_directory_of_an_image_is_opened_inside(rootfs: Path) -> None:
    (rootfs / "models").symlink_to("/../../etc")
    descriptor = open_directory_in_root(rootfs, "/models")
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == (rootfs / "etc").stat().st_ino
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert open_directory_in_root(rootfs, "/missing") is None
    (rootfs / "file").touch()
    with pytest.raises(InvalidArgumentError, match="Not a directory"):
        open_directory_in_root(rootfs, "/file")


def test_magic_links_are_refused(rootfs: Path) -> None:
    assert rootfs.is_dir()
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            open_in_root(root, "/proc/self/cwd", os.O_PATH)
    finally:
        os.close(root)


def test_a_root_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot open root filesystem"):
        ensure_directory_in_root(tmp_path / "gone", "/x")


def test_no_descriptor_is_left(rootfs: Path) -> None:
    before = descriptors()
    ensure_directory_in_root(rootfs, "/a/b/c")
    assert read_regular_file(rootfs, "/missing", 10) is None
    with pytest.raises(InvalidArgumentError):
        read_regular_file(rootfs, "/a", 10)
    assert descriptors() <= before


def test_a_sub_path_is_found_where_its_links_lead_inside(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "etc/canary").write_text("inside")
    (tmp_path / "etc").mkdir()
    (rootfs / "absolute").symlink_to("/etc")
    (rootfs / "dotted").symlink_to("../../../../etc")
    for path in ("/etc", "/absolute", "/dotted", "/./dotted//", "/etc/../dotted"):
        assert find_in_root(rootfs, path) == rootfs / "etc"
    assert find_in_root(rootfs, "/absolute/canary") == rootfs / "etc/canary"
    assert find_in_root(rootfs, "/") == rootfs


@pytest.mark.parametrize("path", ["/nosuch", "/dangling", "/etc/file/below"])
def test_a_sub_path_that_is_not_there_is_none(rootfs: Path, path: str) -> None:
    (rootfs / "dangling").symlink_to("/nowhere")
    (rootfs / "etc/file").touch()
    assert find_in_root(rootfs, path) is None


def test_other_sub_paths_are_refused(rootfs: Path) -> None:
    (rootfs / "loop").symlink_to("loop")
    (rootfs / "magic").symlink_to("/proc/self/root")
    (rootfs / "proc/self").mkdir(parents=True)
    (rootfs / "proc/self/root").symlink_to("/etc")
    os.mkfifo(rootfs / "pipe")
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    for path, text in (
        ("etc", "absolute"),
        ("/loop", "symbolic links"),
        ("/pipe", "neither a directory nor a regular file"),
    ):
        with pytest.raises(InvalidArgumentError, match=text):
            find_in_root(rootfs, path)
    assert find_in_root(rootfs, "/magic") == rootfs / "etc"
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208 - a count
    with pytest.raises(Error, match="root filesystem"):
        find_in_root(rootfs / "nosuch", "/")
