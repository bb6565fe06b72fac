"""What keeps what: the nodes of the graph that garbage collection walks, and its roots.

A node is a blob, a snapshot or an unfinished write. It is kept while a root reaches it, through
snapshots' parents and through the labels that containerd defined for this: `containerd.io/gc.root`,
`containerd.io/gc.ref.content[.*]`, `containerd.io/gc.ref.snapshot.<snapshotter>`.
"""

import contextlib
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from store import digest as digests
from store.errors import InvalidArgumentError

ROOT: Final = "containerd.io/gc.root"
CONTENT: Final = "containerd.io/gc.ref.content"
SNAPSHOT: Final = "containerd.io/gc.ref.snapshot."


class Kind(enum.StrEnum):
    """What a node is."""

    CONTENT = "content"
    SNAPSHOT = "snapshot"
    INGEST = "ingest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A blob by digest, a snapshot by key (with its snapshotter's name), or a write by ref."""

    kind: Kind
    namespace: str
    key: str
    snapshotter: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.key} in {self.namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A node that is kept for a reason of its own; if `flat`, without what it refers to."""

    node: Node
    reason: str
    flat: bool = False


class Roots(Protocol):
    """Whoever needs things to be kept: images, containers, leases."""

    def roots(self) -> Iterable[Root]:
        """Return what is to be kept now, from memory; the nodes need not exist."""
        ...


def content(namespace: str, digest: str) -> Node:
    """Return the node of a blob."""
    return Node(kind=Kind.CONTENT, namespace=namespace, key=digest)


def snapshot(namespace: str, snapshotter: str, key: str) -> Node:
    """Return the node of a snapshot."""
    return Node(kind=Kind.SNAPSHOT, namespace=namespace, key=key, snapshotter=snapshotter)


def ingest(namespace: str, ref: str) -> Node:
    """Return the node of an unfinished write."""
    return Node(kind=Kind.INGEST, namespace=namespace, key=ref)


def labelled(namespace: str, labels: Mapping[str, str]) -> Iterator[Node]:
    """Yield what the labels of a thing refer to; what is no digest refers to nothing."""
    for label, value in labels.items():
        if label == CONTENT or label.startswith((f"{CONTENT}.", f"{CONTENT}/")):
            with contextlib.suppress(InvalidArgumentError):
                yield content(namespace, digests.parse(value))
        elif label.startswith(SNAPSHOT):
            snapshotter = label.removeprefix(SNAPSHOT).partition("/")[0]
            yield snapshot(namespace, snapshotter, value)
