"""The namespaces there are: made on first use, deleted only when empty."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from store import errors
from store.metadata import Namespace, Records, identifiers
from store.metadata.labels import checked, merged

RESERVED: Final = frozenset({"version"})
"""Names that would collide with something else (containerd issue 6944)."""

Occupants: TypeAlias = Mapping[str, Callable[[str], Awaitable[int]]]
"""How many things of each sort, such as `images`, a namespace has."""

_KEY: Final = ""


class Namespaces:
    """The registry of namespaces.

    Args:
        records: where they are kept, all in the namespace "".
        occupants: what makes a namespace not empty.
    """

    def __init__(self, records: Records[Namespace], occupants: Occupants) -> None:
        self._records = records
        self._occupants = occupants

    def ensure(self, name: str) -> None:
        """Make the namespace if it is not there.

        Raises:
            FailedPreconditionError: the name is empty.
            InvalidArgumentError: it is no identifier, or reserved.
        """
        if not name:
            raise errors.FailedPreconditionError("cannot go on: namespace is required")
        if self._records.find(_KEY, name) is None:
            self.create(name, {})

    def create(self, name: str, labels: Mapping[str, str]) -> Namespace:
        """Make a namespace; AlreadyExistsError if it is there."""
        identifiers.checked("namespace", name)
        if name in RESERVED:
            raise errors.InvalidArgumentError(f"cannot use namespace {name!r}: it is reserved")
        record = Namespace(labels=checked(labels), created_at=time.time_ns())
        self._records.add(_KEY, name, record)
        return record

    def get(self, name: str) -> Namespace:
        """Return the record, or raise NotFoundError."""
        return self._records.get(_KEY, name)

    def label(self, name: str, labels: Mapping[str, str]) -> Namespace:
        """Merge `labels` (an empty value removes one); NotFoundError if it is not there."""
        return self._records.update(
            _KEY, name, lambda old: replace(old, labels=merged(old.labels, labels))
        )

    def walk(self) -> Iterator[tuple[str, Namespace]]:
        """Yield (name, record), in the order of names."""
        for _, name, record in self._records.walk(_KEY):
            yield name, record

    async def delete(self, name: str) -> None:
        """Forget an empty namespace.

        Raises:
            NotFoundError: it is not there.
            FailedPreconditionError: it is not empty; the text says what is left.
        """
        self.get(name)
        counts = {sort: await count(name) for sort, count in self._occupants.items()}
        left = ", ".join(f"{count} {sort}" for sort, count in counts.items() if count)
        if left:
            raise errors.FailedPreconditionError(f"cannot delete namespace {name}: it has {left}")
        self._records.delete(_KEY, name)
