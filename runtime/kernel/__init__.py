"""The kernel as ferry uses it: the contract.

One thin function for each system call, one error path (an `OSError` that names the call and the
path); whoever needs the kernel takes one of these Protocols, and tests pass a fake that has passed
the same contract suite.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from store.snapshots import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """The ids 0 to `length` - 1 of a user namespace are `first` and those after it outside."""

    first: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMapping:
    """What a user namespace's ids are outside of it."""

    uids: IdRange
    gids: IdRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """A pinned user namespace; `uid` and `gid` are what its root is outside of it."""

    namespace: Path
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRequest:
    """The namespaces of a sandbox: which to make, and what to set inside before anyone joins.

    They are pinned by bind mounts `directory/net`, `directory/ipc`, `directory/uts`; with `users`
    also `directory/user`, a user namespace that owns the others.
    """

    directory: Path
    network: bool = True
    ipc: bool = True
    uts: bool = True
    users: UserMapping | None = None
    hostname: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)


class Mounts(Protocol):
    """mount(2) and its kin. All calls are quick; none follows a symlink in the target."""

    def mount(self, mount: Mount, target: Path, *, users: Users | None = None) -> None:
        """Mount on an existing target.

        With `users` the files belong to the ids of that user namespace: what is root's on the disk
        is its root's in the mount, and what its root writes is root's on the disk. That is for
        bind mounts and overlays; nobody outside the user namespace can then make anything there.
        """
        ...

    def unmount(self, target: Path, *, lazy: bool = True) -> bool:
        """Unmount all that is mounted on `target`; False if nothing was or it does not exist."""
        ...

    def mappable(self, source: Path, users: Users, *, recursive: bool = False) -> bool:
        """Tell whether a bind mount of `source` can have the ids of `users`.

        `recursive` asks for all that is mounted below it, too.
        """
        ...

    def mounted(self, below: Path) -> list[Path]:
        """Return every mount point at or below a path, deepest first."""
        ...


class Namespaces(Protocol):
    """Pinned namespaces of sandboxes. Blocking for a millisecond or some: call from a thread."""

    def create(self, request: NamespaceRequest) -> None:
        """Make and pin the namespaces; a failure leaves none.

        Raises:
            InvalidArgumentError: a sysctl does not exist or does not take the value; names it.
            FailedPreconditionError: this node cannot make user namespaces, and why.
        """
        ...

    def remove(self, directory: Path) -> None:
        """Unpin whatever is in `directory`; idempotent. The kernel frees what nobody uses."""
        ...

    def alive(self, directory: Path, kinds: tuple[str, ...]) -> bool:
        """Tell whether every one of `kinds` (net, ipc, uts, user) is still pinned there."""
        ...
