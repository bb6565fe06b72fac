"""Operations in flight: what ferry is doing now, at which stage, for how long, on what.

Every RPC is an operation; work that several callers share is one of its own, which they join. Any
code on the way calls `stage` to say where it is. A deadline error quotes `Operation.where`, and
SIGUSR1 and `ferry ops` print `Operations.list`.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

Clock = Callable[[], float]

_current: ContextVar["Operation | None"] = ContextVar("operation", default=None)


@dataclass(slots=True)
class Stage:
    """One step: its name, what it works on, and when it began and ended (clock seconds)."""

    name: str
    subject: str
    began: float
    ended: float | None = None


@dataclass(slots=True)
class Operation:
    """Something under way. Only the task that runs it calls `stage`.

    One that is `endless` goes on as long as its client wants: its age says nothing.
    """

    number: int
    kind: str
    subject: str
    clock: Clock
    began: float
    stages: list[Stage] = field(default_factory=list)
    followed: "Operation | None" = None
    endless: bool = False

    def stage(self, name: str, subject: str = "") -> None:
        """End the current stage and begin the next."""
        now = self.clock()
        if self.stages and self.stages[-1].ended is None:
            last = self.stages[-1]
            if last.name == name:
                last.subject = subject
                return
            last.ended = now
        self.stages.append(Stage(name, subject, now))

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.began

    def where(self) -> str:
        """Say the stage it is in: `stage X for Y s: on what`."""
        if self.followed is not None:
            return f"joined operation {self.followed.number}, {self.followed.where()}"
        if not self.stages:
            return f"stage accepted for {self.age:.1f} s: {self.subject}"
        stage = self.stages[-1]
        return f"stage {stage.name} for {self.clock() - stage.began:.1f} s: {stage.subject}"

    def times(self) -> dict[str, float]:
        """Return how long each stage took, in milliseconds, in their order."""
        now = self.clock()
        result: dict[str, float] = {}
        for stage in self.stages:
            took = ((stage.ended if stage.ended is not None else now) - stage.began) * 1000
            result[stage.name] = round(result.get(stage.name, 0.0) + took, 3)
        return result


class Operations:
    """The operations in flight on this daemon."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._running: dict[int, Operation] = {}

    @contextlib.contextmanager
    def begin(self, kind: str, subject: str = "") -> Iterator[Operation]:
        """Make an operation current for the block, and listed until its end."""
        operation = Operation(next(self._numbers), kind, subject, self._clock, self._clock())
        self._running[operation.number] = operation
        token = _current.set(operation)
        try:
            yield operation
        finally:
            _current.reset(token)
            del self._running[operation.number]

    def list(self) -> list[Operation]:
        """Return what is in flight, oldest first."""
        return list(self._running.values())


def current() -> Operation | None:
    """Return the operation this code runs for."""
    return _current.get()


def stage(name: str, subject: str = "") -> None:
    """Say which stage the current operation has come to; nothing outside of one."""
    operation = _current.get()
    if operation is not None:
        operation.stage(name, subject)


def endless(name: str, subject: str = "") -> None:
    """Say that the current operation has come to a stage that ends when its client wants."""
    operation = _current.get()
    if operation is not None:
        operation.stage(name, subject)
        operation.endless = True


def follow(other: Operation | None) -> None:
    """Say that the current operation waits for another one's result."""
    operation = _current.get()
    if operation is not None and other is not operation:
        operation.stage("joined", f"operation {other.number}" if other else "")
        operation.followed = other
