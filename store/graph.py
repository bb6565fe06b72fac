"""Everything that can be collected, and what refers to what, as the stores know it now."""

import asyncio
import itertools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from store import errors, references
from store.content import ContentStore
from store.digest import Digest
from store.references import Kind, Node, Root
from store.snapshots import Kind as SnapshotKind
from store.snapshots import Snapshot, Snapshotter

T = TypeVar("T")

_PIECE: Final = 32
"""Things that are looked at before others get their turn: about half a millisecond."""
_SECOND: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """Seconds for which things are kept although nothing refers to them.

    `active` is for snapshots that can be mounted, which are made just before the record that
    refers to them, unless they were made before `since` (Unix nanoseconds): what an earlier daemon
    left gets no record any more. `ingest` is for unfinished writes, which a retry may resume.
    """

    active: float = 60.0
    ingest: float = 3600.0
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that is there.

    It is kept until `young_until` (Unix nanoseconds), and for itself if `pinned` says why.
    """

    node: Node
    young_until: int
    pinned: str = ""
    parent: Node | None = None


class Graph:
    """The blobs, writes and snapshots of all namespaces.

    Its coroutines do not give way to other tasks, except for `things`, as long as the stores
    answer from memory.
    """

    def __init__(
        self,
        content: ContentStore,
        snapshotters: Iterable[Snapshotter],
        namespaces: Callable[[], Iterable[str]],
        grace: Grace,
    ) -> None:
        self._content = content
        self._snapshotters = {each.name: each for each in snapshotters}
        self._namespaces = namespaces
        self._grace = grace

    async def things(self) -> list[Thing]:
        """Return everything there is."""
        found: list[Thing] = []
        async for thing in self._walk():
            found.append(thing)
            if len(found) % _PIECE == 0:
                await asyncio.sleep(0)
        return found

    async def referred(self, node: Node) -> list[Node]:
        """Return what a node refers to; nothing if it is not there."""
        try:
            if node.kind is Kind.CONTENT:
                blob = await self._content.info(node.namespace, Digest(node.key))
                return list(references.labelled(node.namespace, blob.labels))
            if node.kind is Kind.SNAPSHOT and node.snapshotter in self._snapshotters:
                snapshotter = self._snapshotters[node.snapshotter]
                snapshot = await snapshotter.stat(node.namespace, node.key)
                found = list(references.labelled(node.namespace, snapshot.labels))
                parent = _parent(snapshot, node.snapshotter)
                return [*found, parent] if parent is not None else found
        except errors.NotFoundError:
            pass
        return []

    def remove(self, node: Node) -> Awaitable[None]:
        """Remove a thing; see the stores' contracts for what can be raised."""
        match node.kind:
            case Kind.CONTENT:
                return self._content.delete(node.namespace, Digest(node.key))
            case Kind.SNAPSHOT:
                return self._snapshotters[node.snapshotter].remove(node.namespace, node.key)
            case Kind.INGEST:
                return self._content.abort(node.key)

    async def sweep(self) -> None:
        """Free the files that nothing names."""
        await self._content.sweep()
        for snapshotter in self._snapshotters.values():
            await snapshotter.sweep()

    async def _walk(self) -> AsyncIterator[Thing]:
        namespaces = sorted(set(self._namespaces()))
        for namespace in namespaces:
            async for blob in self._content.walk(namespace):
                yield Thing(
                    node=references.content(namespace, blob.digest),
                    young_until=blob.updated_at,
                    pinned=_pinned(blob.labels),
                )
        for name, snapshotter in self._snapshotters.items():
            mounted = await snapshotter.mounted()
            for namespace in namespaces:
                async for snapshot in snapshotter.walk(namespace):
                    thing = self._snapshot(snapshot, name)
                    if (namespace, snapshot.key) in mounted:
                        thing = replace(thing, pinned="it is mounted")
                    yield thing
        for write in await self._content.ingests():
            yield Thing(
                node=references.ingest(write.namespace, write.ref),
                young_until=write.updated_at + int(self._grace.ingest * _SECOND),
            )

    def _snapshot(self, snapshot: Snapshot, snapshotter: str) -> Thing:
        mountable = snapshot.kind is not SnapshotKind.COMMITTED
        expected = mountable and snapshot.updated_at >= self._grace.since
        grace = int(self._grace.active * _SECOND) if expected else 0
        return Thing(
            node=references.snapshot(snapshot.namespace, snapshotter, snapshot.key),
            young_until=snapshot.updated_at + grace,
            pinned=_pinned(snapshot.labels),
            parent=_parent(snapshot, snapshotter),
        )


class Marks:
    """The nodes that roots reach, with the reason of the first root that did. They only grow.

    Args:
        referred: what a node refers to.
    """

    def __init__(self, referred: Callable[[Node], Awaitable[Iterable[Node]]]) -> None:
        self._referred = referred
        self._reasons: dict[Node, str] = {}
        self._followed: set[Node] = set()

    def reason(self, node: Node) -> str | None:
        """Return why a node is kept; None if nothing reached it."""
        return self._reasons.get(node)

    async def reach(self, roots: Iterable[Root]) -> None:
        """Mark what the roots reach."""
        for root in roots:
            if root.node in self._followed:
                continue
            self._reasons.setdefault(root.node, root.reason)
            if not root.flat:
                await self._follow(root)

    async def _follow(self, root: Root) -> None:
        waiting = [root.node]
        while waiting:
            node = waiting.pop()
            if node not in self._followed:
                self._followed.add(node)
                self._reasons.setdefault(node, root.reason)
                waiting += await self._referred(node)


def children_first(things: Iterable[Thing]) -> list[Thing]:
    """Return `things` so that a snapshot comes before its parent."""
    by_node = {thing.node: thing for thing in things}
    depths: dict[Node, int] = {}
    for thing in by_node.values():
        chain = [thing]
        while (below := by_node.get(_or(chain[-1].parent))) and below.node not in depths:
            chain.append(below)
        for link in reversed(chain):
            depths[link.node] = depths.get(_or(link.parent), 0) + 1
    return sorted(by_node.values(), key=lambda thing: depths[thing.node], reverse=True)


def pieces(values: Sequence[T], size: int = _PIECE) -> Iterator[Sequence[T]]:
    """Yield `values` in pieces of at most `size`."""
    for start in itertools.count(0, size):
        if start >= len(values):
            return
        yield values[start : start + size]


def _pinned(labels: Mapping[str, str]) -> str:
    return f"label {references.ROOT}" if labels.get(references.ROOT) else ""


def _parent(snapshot: Snapshot, snapshotter: str) -> Node | None:
    if snapshot.parent is None:
        return None
    return references.snapshot(snapshot.namespace, snapshotter, snapshot.parent)


_NOTHING: Final = Node(kind=Kind.SNAPSHOT, namespace="", key="")


def _or(node: Node | None) -> Node:
    return _NOTHING if node is None else node
