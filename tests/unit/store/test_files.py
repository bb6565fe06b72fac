import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store import errors, files
from tests.listing import listing


@pytest.mark.parametrize("text", ["a", "a-b", "k8s.io", "A_9", "0" * 255])
def test_a_safe_component_is_returned(text: str) -> None:
    assert files.component("name", text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a/b", "/a", "a/", ".a", "a.", "-a", "a\n", "a\0", "ä", "a" * 256, "a" * 10240],
)
def test_an_unsafe_component_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="container id") as caught:
        files.component("container id", text)
    assert len(str(caught.value)) < 300


def test_private_directories_leave_those_above_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    files.make_private(tmp_path / "a" / "b")
    files.make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(errors.Error, match="file/c"):
        files.make_private(tmp_path / "file" / "c")


def test_atomic_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "record"
    files.atomic_write(target, b"old")
    files.atomic_write(target, b"new", mode=0o644)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert listing(tmp_path) == ["record"]


def test_a_failed_atomic_write_keeps_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record"
    files.atomic_write(target, b"old")

    def full(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, f"no room for {len(data)} bytes in {fd}")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.ResourceExhaustedError, match=str(target)):
        files.atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    assert listing(tmp_path) == ["record"]


def test_write_all_goes_on_after_short_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    files.atomic_write(tmp_path / "record", b"0123456789")
    assert (tmp_path / "record").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, errors.NotFoundError),
        (errno.EDQUOT, errors.ResourceExhaustedError),
        (errno.EMFILE, errors.ResourceExhaustedError),
        (errno.EACCES, errors.PermissionDeniedError),
        (errno.EROFS, errors.UnavailableError),
        (errno.EIO, errors.Error),
    ],
)
def test_an_os_error_becomes_what_the_caller_can_do(number: int, kind: type[errors.Error]) -> None:
    with (
        pytest.raises(errors.Error, match="cannot read /x: ") as caught,
        files.explained("read /x"),
    ):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, OSError)


def test_an_os_error_names_the_file_that_the_action_does_not(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFoundError) as caught, files.explained(f"copy to {tmp_path}"):
        (tmp_path / "missing").read_bytes()
    expected = f"cannot copy to {tmp_path}: No such file or directory: {tmp_path}/missing"
    assert str(caught.value) == expected


def test_sync_filesystem_takes_files_and_directories(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "record", b"x")
    files.sync_filesystem(tmp_path)
    files.sync_filesystem(tmp_path / "record")
    with pytest.raises(errors.NotFoundError, match="missing"):
        files.sync_filesystem(tmp_path / "missing")


def test_a_root_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with (
        files.RootLock(tmp_path / "root"),
        pytest.raises(errors.FailedPreconditionError, match=rf"root: .* pid {os.getpid()} "),
    ):
        files.RootLock(tmp_path / "root")
    with files.RootLock(tmp_path / "root") as again:
        again.release()


def test_a_dead_owner_holds_nothing(tmp_path: Path) -> None:
    code = "import os, pathlib, sys; from store.files import RootLock; "
    code += "RootLock(pathlib.Path(sys.argv[1])); os._exit(9)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=False,
        cwd=Path(files.__file__).parents[1],
    )
    assert done.returncode == 9
    with files.RootLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
