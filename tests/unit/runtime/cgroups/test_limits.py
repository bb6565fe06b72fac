"""Putting limits back, on plain files, which are not cut: so changed values are as long."""

from pathlib import Path

import pytest

from runtime.cgroups import Counters
from runtime.cgroups import limits as limits_module
from runtime.cgroups.limits import check_usage, differing, put_back, saved
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from store.errors import Error, FailedPreconditionError, NotFoundError
from tests.fakes.cgroups import MemoryCgroups


def _files(folder: Path, **texts: str) -> dict[str, str]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {str(folder / name): text for name, text in texts.items()}


def test_what_is_not_there_is_not_saved(tmp_path: Path) -> None:
    files = _files(tmp_path, a="1\n")
    assert saved([*files, str(tmp_path / "none")]) == files


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    files = _files(tmp_path, a="1\n", b="2\n", c="3\n")
    (tmp_path / "b").write_text("5\n")
    (tmp_path / "c").unlink()
    (tmp_path / "a").chmod(0o400)
    assert differing(files) == {str(tmp_path / "b"): "5\n"}
    put_back(files)
    assert (tmp_path / "b").read_text() == "2\n"
    assert not (tmp_path / "c").exists()


class _Kernel:
    """Takes a write of `b` only once `a` is back, and none of `never`."""

    def __init__(self, **files: str) -> None:
        self.files = files
        self.writes: list[str] = []

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def write(self, path: str, text: str) -> bool:
        self.writes.append(path)
        if path == "never" or (path == "b" and self.files["a"] != "1\n"):
            raise Error(f"cannot write {text!r} to {path}: Invalid argument")
        self.files[path] = text
        return True


def _kernel(monkeypatch: pytest.MonkeyPatch, **files: str) -> _Kernel:
    kernel = _Kernel(**files)
    monkeypatch.setattr(limits_module, "read_text", kernel.read)
    monkeypatch.setattr(limits_module, "write", kernel.write)
    return kernel


def test_what_is_refused_at_first_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = _kernel(monkeypatch, b="8\n", a="9\n")
    put_back({"b": "2\n", "a": "1\n"})
    assert kernel.files == {"a": "1\n", "b": "2\n"}
    assert kernel.writes == ["b", "a", "b"]


def test_what_is_refused_for_good_is_named_and_the_rest_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = _kernel(monkeypatch, never="8\n", a="9\n")
    with pytest.raises(
        Error, match=r"never has '8\\n', had '7\\n'; cannot write.*Invalid"
    ) as error:
        put_back({"never": "7\n", "a": "1\n"})
    assert kernel.files["a"] == "1\n"
    assert "'9" not in str(error.value)


def test_an_empty_file_is_written_as_an_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = _kernel(monkeypatch, cpus="0-1\n")
    put_back({"cpus": "\n"})
    assert kernel.files == {"cpus": "\n"}


def test_v1_has_limits_in_each_hierarchy(tmp_path: Path) -> None:
    for name, text in {"cpu/c/cpu.shares": "2\n", "memory/c/memory.limit_in_bytes": "8\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    cgroups = CgroupsV1(tmp_path)
    before = cgroups.limits("/c")
    assert {Path(path).name: text for path, text in before.files.items()} == {
        "cpu.shares": "2\n",
        "memory.limit_in_bytes": "8\n",
    }
    (tmp_path / "cpu/c/cpu.shares").write_text("4\n")
    cgroups.restore(before)
    assert cgroups.limits("/c") == before
    with pytest.raises(NotFoundError, match="/none"):
        cgroups.limits("/none")


def test_v2_has_also_what_an_update_names(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    _files(tmp_path / "c", **{"memory.max": "max\n", "memory.high": "max\n", "pids.max": "5\n"})
    cgroups = CgroupsV2(tmp_path)
    assert list(cgroups.limits("/c").files) == [str(tmp_path / "c/memory.max")]
    before = cgroups.limits("/c", ["memory.high", "memory.oom.group"])
    (tmp_path / "c/memory.high").write_text("512\n")
    cgroups.restore(before)
    assert (tmp_path / "c/memory.high").read_text() == "max\n"


@pytest.mark.parametrize("limit", [-1, 0, 5000])
def test_enough_memory_is_no_error(limit: int) -> None:
    cgroups = MemoryCgroups()
    cgroups.members["/c"] = []
    cgroups.counters["/c"] = Counters(timestamp=1, memory_usage=9000, memory_working_set=5000)
    check_usage(cgroups, "/c", limit, str)


def test_a_limit_that_is_no_lower_than_before_is_no_error() -> None:
    """The kernel lets a cgroup go over its limit by what it charges at once."""
    cgroups = MemoryCgroups()
    cgroups.members["/c"] = []
    cgroups.counters["/c"] = Counters(timestamp=1, memory_working_set=5000, memory_limit=4096)
    check_usage(cgroups, "/c", 4096, str)
    with pytest.raises(FailedPreconditionError, match="5000"):
        check_usage(cgroups, "/c", 4095, str)


def test_less_memory_than_is_in_use_is_refused() -> None:
    cgroups = MemoryCgroups()
    cgroups.members["/c"] = []
    cgroups.counters["/c"] = Counters(timestamp=1, memory_usage=9000, memory_working_set=5000)
    with pytest.raises(FailedPreconditionError, match=r"^uses 5000$"):
        check_usage(cgroups, "/c", 4999, lambda used: f"uses {used}")
