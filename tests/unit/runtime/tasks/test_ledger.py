from dataclasses import replace
from pathlib import Path

import pytest

from runtime.tasks import State, Task, states
from runtime.tasks.ledger import Ledger
from store.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from store.metadata.records import MemoryRecords

TASK = Task(
    namespace="test",
    id="a",
    handler="crun",
    bundle=Path("/b"),
    directory=Path("/d"),
    state=State.CREATING,
)


async def test_moves_are_told_once_and_what_is_no_move_is_not() -> None:
    ledger = Ledger(MemoryRecords("task"))
    changes = ledger.changes()
    ledger.add(TASK)
    ledger.move(TASK, lambda old: replace(old, message="only this"))
    ledger.move(TASK, lambda old: states.failed(old, "no", 1))
    assert (await anext(changes)).state is State.CREATING
    assert (await anext(changes)).state is State.STOPPED


async def test_a_change_starts_from_the_record_not_from_what_the_caller_holds() -> None:
    ledger = Ledger(MemoryRecords("task"))
    ledger.add(TASK)
    ledger.move(TASK, lambda old: replace(old, message="kept"))
    moved = ledger.move(TASK, lambda old: states.failed(replace(old, failure=old.message), "x", 1))
    assert moved.failure == "x"
    assert ledger.get("test", "a") == moved
    assert ledger.walk() == [moved]
    assert ledger.walk("other") == []


async def test_a_refused_change_changes_nothing() -> None:
    ledger = Ledger(MemoryRecords("task"))
    ledger.add(TASK)
    with pytest.raises(AlreadyExistsError):
        ledger.add(TASK)
    with pytest.raises(FailedPreconditionError):
        ledger.move(TASK, lambda old: states.running(old, 1))
    assert ledger.get("test", "a") == TASK
    ledger.forget(TASK)
    assert ledger.find("test", "a") is None
    with pytest.raises(NotFoundError):
        ledger.move(TASK, lambda old: old)


async def test_observers_come_before_whoever_follows_the_stream() -> None:
    ledger = Ledger(MemoryRecords("task"))
    seen: list[tuple[Task | None, Task]] = []
    ledger.observe(lambda before, after: seen.append((before, after)))
    ledger.add(TASK)
    assert seen == [(None, TASK)]
    ledger.move(TASK, lambda old: replace(old, message="no move"))
    failed = ledger.move(TASK, lambda old: states.failed(old, "no", 1))
    assert seen[1:] == [(replace(TASK, message="no move"), failed)]
