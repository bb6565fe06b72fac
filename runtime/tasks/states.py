"""The life of a task: which state may follow which, and each move as a function."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runtime.monitor import Exit, Monitored
from runtime.tasks import State, Task
from store.errors import FailedPreconditionError

NEXT: Final[Mapping[State, frozenset[State]]] = {
    State.CREATING: frozenset({State.CREATED, State.STOPPED, State.UNKNOWN}),
    State.CREATED: frozenset({State.RUNNING, State.STOPPED, State.UNKNOWN}),
    State.RUNNING: frozenset({State.PAUSED, State.STOPPED, State.UNKNOWN}),
    State.PAUSED: frozenset({State.RUNNING, State.STOPPED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.CREATED, State.RUNNING, State.STOPPED}),
    State.STOPPED: frozenset(),
}

# What a shell says of a program it could not start, and of an end it knows nothing about.
START_FAILED: Final = 128
UNKNOWN_CODE: Final = 255


def to(task: Task, state: State) -> Task:
    """Return the task in `state`, or raise if its life does not go there.

    Raises:
        FailedPreconditionError: names both states.
    """
    if state not in NEXT[task.state]:
        raise FailedPreconditionError(
            f"task {task.id} is {task.state.value}, cannot become {state.value}"
        )
    return replace(task, state=state)


def created(task: Task, monitored: Monitored, at: int) -> Task:
    """The runtime has made its first process, which waits to be started."""
    return replace(
        to(task, State.CREATED),
        process=monitored.process,
        monitor=monitored.monitor,
        created_at=task.created_at or at,
        message="",
    )


def running(task: Task, at: int) -> Task:
    """Its program runs."""
    return replace(to(task, State.RUNNING), started_at=task.started_at or at, message="")


def failed(task: Task, why: str, at: int) -> Task:
    """It could not be created or started."""
    return replace(
        to(task, State.STOPPED), failure=why, message=why, exit_code=START_FAILED, exited_at=at
    )


def exited(task: Task, ended: Exit) -> Task:
    """Its first process ended, and how is known; a file's time may lag a tick behind ours."""
    return replace(
        to(task, State.STOPPED),
        exit_code=ended.code,
        exited_at=max(ended.at, task.started_at),
        oom_killed=ended.oom,
        message="",
    )


def lost(task: Task, why: str, at: int) -> Task:
    """It is gone, and nobody saw how."""
    return replace(to(task, State.STOPPED), exit_code=UNKNOWN_CODE, exited_at=at, message=why)


def unknown(task: Task, why: str) -> Task:
    """It cannot be told whether it lives."""
    if task.state is State.UNKNOWN:
        return replace(task, message=why)
    return replace(to(task, State.UNKNOWN), message=why)
