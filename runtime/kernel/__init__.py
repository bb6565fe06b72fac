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
class NamespaceRequest:
    """The namespaces of a sandbox: which to make, and what to set inside before anyone joins.

    They are pinned by bind mounts `directory/net`, `directory/ipc`, `directory/uts`.
    """

    directory: Path
    network: bool = True
    ipc: bool = True
    uts: bool = True
    hostname: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)


class Mounts(Protocol):
    """mount(2) and its kin. All calls are quick; none follows a symlink in the target."""

    def mount(self, mount: Mount, target: Path) -> None:
        """Mount on an existing target."""
        ...

    def unmount(self, target: Path, *, lazy: bool = True) -> bool:
        """Unmount all that is mounted on `target`; False if nothing was or it does not exist."""
        ...

    def mounted(self, below: Path) -> list[Path]:
        """Return every mount point at or below a path, deepest first."""
        ...


class Namespaces(Protocol):
    """Pinned namespaces of sandboxes. Blocking for about a millisecond: call from a thread."""

    def create(self, request: NamespaceRequest) -> None:
        """Make and pin the namespaces; a failure leaves none.

        Raises:
            InvalidArgumentError: a sysctl does not exist or does not take the value; names it.
        """
        ...

    def remove(self, directory: Path) -> None:
        """Unpin whatever is in `directory`; idempotent. The kernel frees what nobody uses."""
        ...

    def alive(self, directory: Path, kinds: tuple[str, ...]) -> bool:
        """Tell whether every one of `kinds` (net, ipc, uts) is still pinned there."""
        ...
