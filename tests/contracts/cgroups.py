"""What every `Cgroups` must do."""

import time
from typing import Protocol

import pytest

from runtime.cgroups import Cgroups
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from tests.waiting import PATIENCE


class Bench(Protocol):
    """The thing under test, and what a test needs to set its stage."""

    @property
    def cgroups(self) -> Cgroups: ...

    def make(self, directory: str) -> None:
        """Make a cgroup and its parents."""

    def limit(self, directory: str, memory: int) -> None:
        """Limit its memory to so many bytes."""

    def enter(self, directory: str) -> int:
        """Start a process in it and return its number."""

    def exists(self, directory: str) -> bool: ...


def emptied(cgroups: Cgroups, directory: str) -> bool:
    """Wait until the killed are gone: the kernel tells of it in no file that v1 has, too."""
    deadline = time.monotonic() + PATIENCE
    while cgroups.pids(directory) and time.monotonic() < deadline:
        time.sleep(0.002)
    return not cgroups.pids(directory)


class CgroupsContract:
    def test_the_version_is_one_of_two(self, bench: Bench) -> None:
        assert bench.cgroups.version in {1, 2}

    def test_what_is_not_there_cannot_be_read(self, bench: Bench) -> None:
        with pytest.raises(NotFoundError, match="/ferry-test/none"):
            bench.cgroups.read("/ferry-test/none")

    def test_what_is_not_there_is_empty_and_stays_away(self, bench: Bench) -> None:
        bench.cgroups.kill("/ferry-test/none")
        bench.cgroups.remove("/ferry-test/none")
        assert bench.cgroups.pids("/ferry-test/none") == []
        assert bench.cgroups.oom_kills("/ferry-test/none") is None
        assert not bench.exists("/ferry-test/none")

    @pytest.mark.parametrize("directory", ["/", "", "/a/../b", "/../a", "/a//b", "/a/."])
    def test_the_root_and_ways_out_are_refused(self, bench: Bench, directory: str) -> None:
        for act in (bench.cgroups.read, bench.cgroups.kill, bench.cgroups.remove):
            with pytest.raises(InvalidArgumentError, match="not a clean path"):
                act(directory)

    def test_a_reading_has_its_time(self, bench: Bench) -> None:
        before = time.time_ns()
        bench.make("/ferry-test/a")
        assert before <= bench.cgroups.read("/ferry-test/a").timestamp <= time.time_ns()

    def test_a_detailed_reading_tells_no_less(self, bench: Bench) -> None:
        bench.make("/ferry-test/a")
        bench.enter("/ferry-test/a")
        plain = bench.cgroups.read("/ferry-test/a")
        detailed = bench.cgroups.read("/ferry-test/a", detailed=True)
        assert plain.memory_limit == detailed.memory_limit
        assert plain.pids is None
        assert plain.extra.keys() <= detailed.extra.keys()

    def test_limits_are_put_back(self, bench: Bench) -> None:
        bench.make("/ferry-test/a")
        unlimited = bench.cgroups.limits("/ferry-test/a")
        bench.limit("/ferry-test/a", 64 << 20)
        limited = bench.cgroups.limits("/ferry-test/a")
        assert limited.files.keys() == unlimited.files.keys()
        assert limited.files != unlimited.files
        bench.cgroups.restore(unlimited)
        assert bench.cgroups.limits("/ferry-test/a") == unlimited
        bench.cgroups.restore(limited)
        assert bench.cgroups.limits("/ferry-test/a") == limited

    def test_limits_of_what_is_gone(self, bench: Bench) -> None:
        with pytest.raises(NotFoundError, match="/ferry-test/none"):
            bench.cgroups.limits("/ferry-test/none")
        bench.make("/ferry-test/a")
        before = bench.cgroups.limits("/ferry-test/a")
        bench.limit("/ferry-test/a", 64 << 20)
        bench.cgroups.remove("/ferry-test/a")
        bench.cgroups.restore(before)
        assert not bench.exists("/ferry-test/a")

    def test_processes_are_counted_with_those_below(self, bench: Bench) -> None:
        bench.make("/ferry-test/a/b")
        first, second = bench.enter("/ferry-test/a"), bench.enter("/ferry-test/a/b")
        assert bench.cgroups.processes("/ferry-test/a") == sorted([first, second])
        assert bench.cgroups.processes("/ferry-test/none") == []

    def test_processes_are_listed_with_those_below(self, bench: Bench) -> None:
        bench.make("/ferry-test/a/b")
        first, second = bench.enter("/ferry-test/a"), bench.enter("/ferry-test/a/b")
        assert bench.cgroups.pids("/ferry-test/a") == sorted([first, second])
        assert bench.cgroups.pids("/ferry-test/a/b") == [second]

    def test_kill_empties_all_below_and_may_be_said_twice(self, bench: Bench) -> None:
        bench.make("/ferry-test/a/b")
        bench.enter("/ferry-test/a")
        bench.enter("/ferry-test/a/b")
        bench.cgroups.kill("/ferry-test/a")
        assert emptied(bench.cgroups, "/ferry-test/a")
        bench.cgroups.kill("/ferry-test/a")
        assert bench.exists("/ferry-test/a/b")

    def test_kill_spares_the_neighbour(self, bench: Bench) -> None:
        bench.make("/ferry-test/a")
        bench.make("/ferry-test/ab")
        neighbour = bench.enter("/ferry-test/ab")
        bench.cgroups.kill("/ferry-test/a")
        assert bench.cgroups.pids("/ferry-test/ab") == [neighbour]

    def test_remove_takes_the_children_too(self, bench: Bench) -> None:
        bench.make("/ferry-test/a/b/c")
        bench.cgroups.remove("/ferry-test/a")
        assert not bench.exists("/ferry-test/a")
        assert bench.exists("/ferry-test")

    def test_remove_names_the_processes_in_the_way(self, bench: Bench) -> None:
        bench.make("/ferry-test/a")
        pid = bench.enter("/ferry-test/a")
        with pytest.raises(FailedPreconditionError, match=str(pid)):
            bench.cgroups.remove("/ferry-test/a")
        assert bench.cgroups.pids("/ferry-test/a") == [pid]

    def test_remove_right_after_kill(self, bench: Bench) -> None:
        bench.make("/ferry-test/a")
        bench.enter("/ferry-test/a")
        bench.cgroups.kill("/ferry-test/a")
        assert emptied(bench.cgroups, "/ferry-test/a")
        bench.cgroups.remove("/ferry-test/a")
        assert not bench.exists("/ferry-test/a")
