"""Locks by key (`store.locks`) whose waiting is a stage of the current operation."""

from collections.abc import Hashable

from runtime import operations
from store import locks


class Locks(locks.Locks):
    """Locks by key."""

    def _waiting(self, key: Hashable) -> None:
        operations.stage("wait for another operation", str(key))
