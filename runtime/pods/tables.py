"""The sandboxes and containers of this node in memory, found by id, by prefix and by name."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from runtime.pods import Sandbox, SandboxMetadata, SandboxState
from store.errors import InvalidArgumentError, NotFoundError
from store.metadata import Records

Key = tuple[str, str]


def new_id() -> str:
    """Return a fresh id: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Tell whether `labels` has every pair of `selector`."""
    return selector.items() <= labels.items()


class _Keys(Protocol):
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Key]: ...


def full_id(keys: _Keys, namespace: str, prefix: str, what: str) -> str:
    """Return the one id of `namespace` that `prefix` starts, or is.

    Raises:
        NotFoundError: nothing starts so.
        InvalidArgumentError: several do, or `prefix` is empty.
    """
    if (namespace, prefix) in keys:
        return prefix
    if not prefix:
        raise InvalidArgumentError(f"cannot find a {what} without an id")
    found = [id_ for owner, id_ in keys if owner == namespace and id_.startswith(prefix)]
    if not found:
        raise NotFoundError(f"cannot find {what} {prefix[:128]!r} in namespace {namespace}")
    if len(found) > 1:
        raise InvalidArgumentError(f"cannot tell which {what} {prefix!r} is: {len(found)} match")
    return found[0]


SandboxObserver = Callable[[Sandbox | None, Sandbox | None], None]
"""Is told of a sandbox before and after a change; None where there was or is none."""


class SandboxTable:
    """Sandbox records, ordered as they were made, with an index by metadata."""

    def __init__(self, records: Records[Sandbox]) -> None:
        self._records = records
        self._all: dict[Key, Sandbox] = {}
        self._by_metadata: dict[tuple[str, SandboxMetadata], str] = {}
        self._observers: list[SandboxObserver] = []
        rows = sorted(records.walk(), key=lambda row: (row[2].created_at, row[1]))
        for _, _, sandbox in rows:
            self._remember(sandbox)

    def observe(self, observer: SandboxObserver) -> None:
        """Call `observer` at every change from now on, right after it; it must not raise."""
        self._observers.append(observer)

    def put(self, sandbox: Sandbox) -> None:
        """Commit the record, new or changed."""
        before = self.find(sandbox.namespace, sandbox.id)
        self._records.put(sandbox.namespace, sandbox.id, sandbox)
        self._remember(sandbox)
        self._tell(before, sandbox)

    def delete(self, sandbox: Sandbox) -> None:
        """Forget the record."""
        self._records.delete(sandbox.namespace, sandbox.id)
        before = self._all.pop((sandbox.namespace, sandbox.id), None)
        key = (sandbox.namespace, sandbox.config.metadata)
        if self._by_metadata.get(key) == sandbox.id:
            del self._by_metadata[key]
        self._tell(before, None)

    def find(self, namespace: str, id_: str) -> Sandbox | None:
        """Return the sandbox with exactly this id, also one that is being made."""
        return self._all.get((namespace, id_))

    def get(self, namespace: str, id_: str) -> Sandbox:
        """Return a sandbox that clients may see, by id or unique prefix; or NotFoundError."""
        sandbox = self._all[namespace, full_id(self._all, namespace, id_, "sandbox")]
        if sandbox.state is SandboxState.CREATING:
            raise NotFoundError(f"cannot find sandbox {id_!r} in namespace {namespace}")
        return sandbox

    def ready(self, namespace: str, metadata: SandboxMetadata) -> Sandbox | None:
        """Return the READY sandbox of this pod and attempt, if there is one."""
        id_ = self._by_metadata.get((namespace, metadata))
        sandbox = self._all.get((namespace, id_)) if id_ else None
        return sandbox if sandbox and sandbox.state is SandboxState.READY else None

    def walk(self) -> list[Sandbox]:
        """Return every record, those being made too, oldest first."""
        return list(self._all.values())

    def _tell(self, before: Sandbox | None, after: Sandbox | None) -> None:
        for observer in self._observers:
            observer(before, after)

    def _remember(self, sandbox: Sandbox) -> None:
        self._all[sandbox.namespace, sandbox.id] = sandbox
        self._by_metadata[sandbox.namespace, sandbox.config.metadata] = sandbox.id
