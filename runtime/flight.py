"""Shared runs (`store.flight`) whose callers say whom they wait for."""

from typing import TypeVar

from runtime import operations
from runtime.operations import Operation
from store import flight

T = TypeVar("T")


class Flight(flight.Flight[T]):
    """Runs by key: who joins one follows its operation."""

    def _mark(self) -> object:
        return operations.current()

    def _joined(self, mark: object) -> None:
        operations.follow(mark if isinstance(mark, Operation) else None)

    def _undoing(self, name: str) -> None:
        operations.stage("undo of the last attempt", name)
