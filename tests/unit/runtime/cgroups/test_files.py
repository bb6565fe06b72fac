import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.cgroups import files
from store.errors import Error
from tests.waiting import PATIENCE


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_numbers(tmp_path: Path) -> None:
    for text, expected in (("42\n", 42), ("-1\n", -1), ("max\n", None), ("", None)):
        (tmp_path / "f").write_text(text)
        assert files.read_int(f"{tmp_path}/f") == expected
    assert files.read_int(f"{tmp_path}/missing/f") is None


def test_numbers_by_name_are_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "none").write_text("max\n")
    paths = {name: f"{tmp_path}/{name}" for name in ("one", "none", "missing")}
    assert files.read_numbers(paths) == {"one": 1}


def test_pressure_is_none_where_the_kernel_has_none(tmp_path: Path) -> None:
    assert files.read_pressure(f"{tmp_path}/cpu.pressure") is None
    (tmp_path / "cpu.pressure").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n")
    found = files.read_pressure(f"{tmp_path}/cpu.pressure")
    assert found is not None
    assert found.some is not None
    assert found.some.total == 3


def test_tables_skip_what_is_no_pair(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a 1\nb two\nc\nd 4 5\ne 6\n")
    assert files.read_table(f"{tmp_path}/f") == {"a": 1, "e": 6}
    assert files.read_table(f"{tmp_path}/missing") == {}


def test_an_error_that_is_no_vanishing_is_told(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"cannot read .*: Is a directory"):
        files.read_text(str(tmp_path))
    with pytest.raises(Error, match="cannot write"):
        files.write(str(tmp_path), "1")


def test_writing_to_what_is_gone_is_false(tmp_path: Path) -> None:
    assert not files.write(f"{tmp_path}/cgroup.kill", "1")
    (tmp_path / "f").write_text("")
    assert files.write(f"{tmp_path}/f", "FROZEN")
    assert (tmp_path / "f").read_text() == "FROZEN"


def test_processes_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/cgroup.procs").write_text("3\n0\n")
    (tmp_path / "a/b/cgroup.procs").write_text("2\n3\n")
    assert files.processes([f"{tmp_path}/a", f"{tmp_path}/gone"]) == [2, 3]


def test_a_number_that_left_the_list_is_not_killed(child: subprocess.Popen[bytes]) -> None:
    readings = iter([[child.pid], [], []])
    files.kill_all(lambda: next(readings), lambda _: None, "/x")
    assert child.poll() is None


def test_killing_goes_on_while_new_ones_appear(child: subprocess.Popen[bytes]) -> None:
    other = subprocess.Popen(["sleep", "1000"])
    readings = iter([[child.pid]] * 2 + [[child.pid, other.pid]] * 3 + [[]] * 4)
    files.kill_all(lambda: next(readings), lambda _: None, "/x")
    assert (child.wait(timeout=PATIENCE), other.wait(timeout=PATIENCE)) == (-9, -9)


def test_the_freezer_helps_when_rounds_do_not_converge_and_thaws() -> None:
    switches: list[bool] = []
    numbers = iter(range(10_000_000, 20_000_000))
    with pytest.raises(Error, match="/x: new processes keep appearing"):
        files.kill_all(lambda: [next(numbers)], switches.append, "/x")
    assert switches[:4] == [True, False, True, False]
    assert switches[-1] is False


def test_removing_reports_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").touch()
    with pytest.raises(Error, match=os.strerror(errno.ENOTEMPTY)):
        files.remove_tree(f"{tmp_path}/a")
    assert (tmp_path / "a").is_dir()
