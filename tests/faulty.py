"""Failing each step of an operation once: a proxy counts calls and fails the one it is told."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from store.errors import UnavailableError

T = TypeVar("T")
P = ParamSpec("P")


class InjectedError(UnavailableError):
    """The failure a test asked for."""


@dataclass(slots=True)
class Faults:
    """Which call fails: the `fail_at`-th of those that are counted, 0 for none.

    `after` says whether the call has its effect before it fails, as when an answer is lost.
    """

    fail_at: int = 0
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def around(self, name: str, target: T, methods: tuple[str, ...]) -> T:
        """Return `target` with calls of `methods` counted, and failing when it is their turn."""
        return cast("T", _Faulty(self, name, target, methods))

    def turn(self, call: str) -> bool:
        self.calls.append(call)
        return len(self.calls) == self.fail_at


class _Faulty:
    def __init__(self, faults: Faults, name: str, target: object, methods: tuple[str, ...]) -> None:
        self._faults = faults
        self._name = name
        self._target = target
        self._methods = methods

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(self._target, attribute)
        if attribute not in self._methods:
            return value
        call = f"{self._name}.{attribute}"
        if inspect.iscoroutinefunction(value):
            return self._awaited(call, value)
        assert callable(value)
        return self._called(call, value)

    def _called(self, call: str, value: Callable[P, T]) -> Callable[P, T]:
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            failing = self._faults.turn(call)
            if failing and not self._faults.after:
                raise InjectedError(f"injected into {call}")
            result = value(*args, **kwargs)
            if failing:
                raise InjectedError(f"injected after {call}")
            return result

        return wrapped

    def _awaited(
        self, call: str, value: Callable[P, Awaitable[T]]
    ) -> Callable[P, Coroutine[None, None, T]]:
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            failing = self._faults.turn(call)
            if failing and not self._faults.after:
                raise InjectedError(f"injected into {call}")
            result = await value(*args, **kwargs)
            if failing:
                raise InjectedError(f"injected after {call}")
            return result

        return wrapped
