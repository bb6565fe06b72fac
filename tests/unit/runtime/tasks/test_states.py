from dataclasses import replace
from pathlib import Path

import pytest

from runtime.monitor import Exit, Monitored
from runtime.pidfd import ProcessId
from runtime.tasks import State, Task, states
from store.errors import FailedPreconditionError

TASK = Task(
    namespace="test",
    id="a",
    handler="crun",
    bundle=Path("/b"),
    directory=Path("/d"),
    state=State.CREATING,
)
MONITORED = Monitored(process=ProcessId(pid=10, started=1), monitor=ProcessId(pid=11, started=2))


def test_every_state_has_its_row_and_nothing_leaves_stopped() -> None:
    assert set(states.NEXT) == set(State)
    assert states.NEXT[State.STOPPED] == frozenset()
    for state in set(State) - {State.STOPPED}:
        assert State.STOPPED in states.NEXT[state]


def test_a_forbidden_move_names_both_states() -> None:
    stopped = replace(TASK, state=State.STOPPED)
    with pytest.raises(FailedPreconditionError, match="task a is stopped, cannot become running"):
        states.running(stopped, 1)


def test_a_whole_life() -> None:
    created = states.created(TASK, MONITORED, 5)
    assert (created.state, created.process, created.monitor, created.created_at) == (
        State.CREATED,
        MONITORED.process,
        MONITORED.monitor,
        5,
    )
    running = states.running(created, 6)
    assert (running.state, running.started_at) == (State.RUNNING, 6)
    ended = states.exited(running, Exit(code=137, at=7, oom=True))
    assert (ended.state, ended.exit_code, ended.exited_at, ended.oom_killed) == (
        State.STOPPED,
        137,
        7,
        True,
    )


def test_nothing_ends_before_it_starts() -> None:
    running = states.running(states.created(TASK, MONITORED, 5), 100)
    assert states.exited(running, Exit(code=0, at=99)).exited_at == 100


def test_a_failure_keeps_the_words() -> None:
    failed = states.failed(TASK, "no such file", 9)
    assert (failed.state, failed.exit_code, failed.exited_at) == (State.STOPPED, 128, 9)
    assert failed.failure == failed.message == "no such file"


def test_what_nobody_saw_ends_with_255() -> None:
    lost = states.lost(states.created(TASK, MONITORED, 5), "gone", 9)
    assert (lost.state, lost.exit_code, lost.message, lost.failure) == (
        State.STOPPED,
        255,
        "gone",
        "",
    )


def test_the_unknown_may_stay_unknown_or_be_found() -> None:
    unknown = states.unknown(states.created(TASK, MONITORED, 5), "why")
    assert (unknown.state, unknown.message) == (State.UNKNOWN, "why")
    assert states.unknown(unknown, "still").message == "still"
    found = states.running(unknown, 6)
    assert (found.state, found.message) == (State.RUNNING, "")
    with pytest.raises(FailedPreconditionError):
        states.unknown(states.lost(found, "", 1), "too late")
