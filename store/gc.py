"""Garbage collection: what no root reaches goes.

It runs beside writers. First it notes what is there and marks what the roots reach, giving way to
others in between. Then it removes in small batches, and before each it marks again from the roots
of that moment and from everything that was leased meanwhile; between that and the removals nobody
else gets a turn. What is newer than the start, or mounted, is not taken. So whoever follows one
rule is safe: what nothing refers to is leased before it is made or looked for, until something
refers to it.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from store import errors
from store.graph import Graph, Marks, Thing, children_first, pieces
from store.leases import Leases
from store.references import Node, Root, Roots

_BATCH: Final = 10
"""Removals before others get their turn: each is a commit and a rename, about 0.1 ms."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something that stays, and what for."""

    node: Node
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a collection would do now."""

    kept: tuple[Kept, ...]
    gone: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a collection did. `failed` says why something could not be removed."""

    removed: tuple[Node, ...]
    failed: tuple[tuple[Node, str], ...]


class Collector:
    """Collects the garbage of all namespaces.

    Args:
        graph: what is collected.
        leases: roots, and the notice of what is leased meanwhile.
        roots: everybody else who needs things, such as images and containers.
    """

    def __init__(self, graph: Graph, leases: Leases, roots: Sequence[Roots]) -> None:
        self._graph = graph
        self._leases = leases
        self._sources: tuple[Roots, ...] = (leases, *roots)
        self._running = asyncio.Lock()

    async def plan(self) -> Plan:
        """Return what `collect` would keep, with the reasons, and what it would remove."""
        started = time.time_ns()
        things = await self._graph.things()
        marks = await self._mark(things)
        kept: list[Kept] = []
        gone: list[Node] = []
        for thing in things:
            reason = marks.reason(thing.node)
            if reason is not None:
                kept.append(Kept(node=thing.node, reason=reason))
            elif thing.young_until >= started:
                kept.append(Kept(node=thing.node, reason="it is new"))
            else:
                gone.append(thing.node)
        return Plan(kept=tuple(kept), gone=tuple(gone))

    async def collect(self) -> Result:
        """Remove what no root reaches, and return when its space on the disk is free.

        One collection runs at a time; a second caller waits for its turn, so what was garbage when
        it called is gone when it returns.
        """
        async with self._running:
            self._leases.expire()
            with self._leases.watched() as leased:
                result = await self._collect(leased)
            await self._graph.sweep()
        if result.removed or result.failed:
            _log.info("collected %d, failed %d", len(result.removed), len(result.failed))
        return result

    async def _collect(self, leased: set[Node]) -> Result:
        started = time.time_ns()
        things = await self._graph.things()
        marks = await self._mark(things)
        removed: list[Node] = []
        failed: list[tuple[Node, str]] = []
        garbage = [
            thing
            for thing in things
            if marks.reason(thing.node) is None and thing.young_until < started
        ]
        for batch in pieces(children_first(garbage), _BATCH):
            meanwhile = [Root(node=node, reason="leased meanwhile") for node in leased]
            await marks.reach([*self._roots(), *meanwhile])
            for thing in batch:
                if marks.reason(thing.node) is None:
                    why = await self._remove(thing.node)
                    if why is None:
                        removed.append(thing.node)
                    else:
                        failed.append((thing.node, why))
            await asyncio.sleep(0)
        return Result(removed=tuple(removed), failed=tuple(failed))

    async def _remove(self, node: Node) -> str | None:
        """Remove a thing; return why it could not be."""
        try:
            await self._graph.remove(node)
        except errors.NotFoundError:
            return None
        except errors.Error as error:
            _log.info("not collected: %s: %s", node, error)
            return str(error)
        return None

    async def _mark(self, things: list[Thing]) -> Marks:
        """Mark what the roots of this moment reach, in pieces."""
        marks = Marks(self._graph.referred)
        pinned = [Root(node=thing.node, reason=thing.pinned) for thing in things if thing.pinned]
        for piece in pieces([*self._roots(), *pinned]):
            await marks.reach(piece)
            await asyncio.sleep(0)
        return marks

    def _roots(self) -> Iterator[Root]:
        return itertools.chain.from_iterable(source.roots() for source in self._sources)
