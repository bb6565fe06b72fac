"""Exec and attach: one program's streams and one client's, joined."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from cri.streaming import ProtocolError
from cri.streaming.resize import Sizes
from cri.streaming.status import Outcome
from runtime.io import Session, Sink, Source
from runtime.io.copying import Nowhere, copy
from store.errors import Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A client's streams; those it did not ask for are None.

    `structured`: it reads a metav1.Status from `error`.
    """

    error: Sink
    structured: bool
    stdin: Source | None = None
    stdout: Sink | None = None
    stderr: Sink | None = None
    sizes: Source | None = None


async def serve(peer: Peer, opening: AbstractAsyncContextManager[Session]) -> None:
    """Join the client with the session for as long as the program runs, and say how it ended."""
    outcome = await _outcome(peer, opening)
    for sink in (peer.stdout, peer.stderr):
        if sink is not None:
            sink.close()
    await peer.error.write(outcome.status() if peer.structured else outcome.text())
    peer.error.close()


async def _outcome(peer: Peer, opening: AbstractAsyncContextManager[Session]) -> Outcome:
    try:
        async with opening as session:
            return await _join(peer, session)
    except Error as error:
        return Outcome(error=str(error))


async def _join(peer: Peer, session: Session) -> Outcome:
    async with asyncio.TaskGroup() as group:
        outputs = [
            group.create_task(copy(source, sink or Nowhere()))
            for source, sink in ((session.stdout, peer.stdout), (session.stderr, peer.stderr))
            if source is not None
        ]
        inputs = []
        if peer.stdin is not None:
            inputs.append(group.create_task(copy(peer.stdin, session.stdin or Nowhere())))
        if peer.sizes is not None:
            inputs.append(group.create_task(_resize(peer.sizes, session)))
        outcome = await _ended(session)
        if outputs:
            await asyncio.wait(outputs)
        for task in inputs:
            task.cancel()
    return outcome


async def _ended(session: Session) -> Outcome:
    try:
        return Outcome(code=await session.wait())
    except Error as error:
        return Outcome(error=str(error))


async def _resize(source: Source, session: Session) -> None:
    sizes = Sizes()
    while data := await source.read():
        try:
            size = sizes.feed(data)
        except ProtocolError:
            source.abandon()  # sizes are a courtesy: the program goes on without them
            return
        if size is not None:
            session.resize(size)
