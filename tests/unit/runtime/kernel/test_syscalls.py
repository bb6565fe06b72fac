import errno
import os
from pathlib import Path

import pytest

from runtime.kernel import syscalls


def test_openat2_keeps_below_its_directory(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "inside" / "link").symlink_to("../secret")
    directory = os.open(tmp_path / "inside", os.O_RDONLY)
    beneath = syscalls.RESOLVE_BENEATH
    for path in ("../secret", "link", "/etc/passwd"):
        with pytest.raises(OSError, match="openat2") as error:
            syscalls.openat2(directory, path, os.O_RDONLY, resolve=beneath)
        assert error.value.errno == errno.EXDEV
        assert error.value.filename == path
    flags = os.O_CREAT | os.O_WRONLY
    descriptor = syscalls.openat2(directory, "new", flags, mode=0o640, resolve=beneath)
    assert not os.get_inheritable(descriptor)
    assert os.fstat(descriptor).st_mode & 0o777 == 0o640 & ~_umask()
    os.close(descriptor)
    os.close(directory)


def test_errors_carry_call_number_and_subject() -> None:
    with pytest.raises(OSError, match="setns: Bad file descriptor: 'fd -1'"):
        syscalls.setns(-1, syscalls.CLONE_NEWNET)
    with pytest.raises(FileNotFoundError, match="open_tree"):
        syscalls.open_tree(syscalls.AT_FDCWD, "/nonexistent/x", syscalls.OPEN_TREE_CLOEXEC)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
