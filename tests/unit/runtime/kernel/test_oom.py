import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel import oom
from runtime.kernel.processes import start_time

POD = "/kubepods.slice/kubepods-pod1.slice"
RECORDS = (
    "6,100,5000000,-;Linux version 6.12\n",
    "4,101,9000000,-;sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\n SUBSYSTEM=none\n",
    (
        "6,102,9000100,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,"
        f"mems_allowed=0,oom_memcg={POD}/ferry-a.scope,task_memcg={POD}/ferry-a.scope/inner,"
        "task=sh,pid=42,uid=0\n"
    ),
    "3,103,9000200,-;Memory cgroup out of memory: Killed process 42 (sh (x)) total-vm:1kB\n",
    "3,104,9500000,-;Out of memory: Killed process 77 (java) total-vm:1kB\n",
)
NOBODY = oom.Suspect(pid=1, cgroup="", since=0)


@pytest.mark.parametrize("pid", [42, 77])
def test_a_victim_is_known_by_its_number(pid: int) -> None:
    assert oom.killed(RECORDS, replace(NOBODY, pid=pid))


@pytest.mark.parametrize("pid", [4, 421, 7, 1])
def test_others_are_not(pid: int) -> None:
    assert not oom.killed(RECORDS, replace(NOBODY, pid=pid))


def test_who_had_the_number_before_does_not_count() -> None:
    assert oom.killed(RECORDS, replace(NOBODY, pid=42, since=9_000_200))
    assert not oom.killed(RECORDS, replace(NOBODY, pid=42, since=9_000_201))


@pytest.mark.parametrize(
    ("cgroup", "told"),
    [
        (f"{POD}/ferry-a.scope", True),
        (f"{POD}/ferry-a.scope/inner", True),
        (POD, True),
        (f"{POD}/ferry-a", False),
        (f"{POD}/ferry-b.scope", False),
        ("", False),
    ],
)
def test_a_victim_within_a_cgroup(cgroup: str, told: bool) -> None:  # noqa: FBT001 - expectation
    assert oom.killed(RECORDS, replace(NOBODY, cgroup=cgroup)) is told


@pytest.mark.parametrize(
    "record", ["", ";", "1,2,x,-;y", "no separator", "3,1,;Killed process 1 ("]
)
def test_what_is_no_record_is_passed_over(record: str) -> None:
    assert not oom.killed([record], NOBODY)


def test_a_process_lives_since_its_start() -> None:
    started = start_time(os.getpid())
    assert started is not None
    suspect = oom.Suspect.of(os.getpid(), started, "/a")
    assert suspect.since < time.monotonic_ns() // 1000
    assert suspect.since > 0


def test_records_are_read_to_the_end(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("6,1,2,-;hello\n")
    assert list(oom.records(log)) == ["6,1,2,-;hello\n"]


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(oom.records(tmp_path / "none"))
