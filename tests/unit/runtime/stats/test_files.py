import os
import socket
import subprocess
from pathlib import Path

import pytest

from runtime.stats import Files, files


def make(proc: Path, pid: int, *targets: str) -> None:
    directory = proc / str(pid) / "fd"
    directory.mkdir(parents=True)
    for number, target in enumerate(targets):
        (directory / str(number)).symlink_to(target)


def test_descriptors_of_all_processes_and_the_limit_of_the_first(tmp_path: Path) -> None:
    make(tmp_path, 1, "/dev/null", "socket:[5]", "pipe:[6]")
    make(tmp_path, 2, "socket:[7]")
    (tmp_path / "1/limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        "Max open files            1024                 524288               files     \n"
    )
    assert files.opened([1, 2, 3], 1, tmp_path) == Files(descriptors=4, sockets=2, soft_limit=1024)


def test_no_limit_is_none(tmp_path: Path) -> None:
    make(tmp_path, 1)
    (tmp_path / "1/limits").write_text("Max open files            unlimited   unlimited  files\n")
    assert files.opened([1], 1, tmp_path) == Files(descriptors=0, sockets=0)
    assert files.opened([], 9, tmp_path) == Files(descriptors=0, sockets=0)


def test_of_very_many_only_the_number_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LINKS", 2)
    make(tmp_path, 1, "socket:[1]", "socket:[2]", "socket:[3]")
    assert files.opened([1], 1, tmp_path) == Files(descriptors=3)


def test_a_real_process() -> None:
    with socket.socket() as one, subprocess.Popen(["sleep", "100"], pass_fds=[one.fileno()]) as two:
        found = files.opened([two.pid], two.pid)
        two.kill()
    assert found is not None
    assert found.sockets == 1
    assert found.descriptors >= 4
    assert found.soft_limit == int(os.sysconf("SC_OPEN_MAX"))
