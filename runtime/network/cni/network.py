"""The network of pods by CNI plugins."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking, operations
from runtime.locks import Locks
from runtime.network import Attachment, AttachRequest, NetworkStatus
from runtime.network.cni import INTERFACE, Chosen, Plugins
from runtime.network.cni.chain import Chain
from runtime.network.cni.gate import Gate
from runtime.network.cni.ledger import CniLedger, CniPod, CniRecords, plain
from runtime.network.cni.selection import Selection
from runtime.rollback import Rollback
from runtime.watch import DirectoryWatch
from store.errors import Error, UnavailableError

_PARALLEL: Final = 8
_REMEMBERED: Final = 1000
_LONGEST_PAUSE: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CniConfig:
    """The CNI network of a daemon.

    Attributes:
        directory: where network configurations are put; it may come and go.
        recovery: seconds that a start may spend on DELs a crash left; the rest is done later.
        undo: seconds that a failed ADD may take to be undone before that is left for later.
        parallel: how many pods are connected at a time, and as many disconnected. Plugins wait for
            each other's locks, and the time of each that may be killed for it would run out.
    """

    directory: Path
    parallel: int = 16
    recovery: float = 20.0
    undo: float = 90.0


class CniNetwork:
    """`Network` by the plugins that a directory's first configuration names.

    Args:
        config: where configurations are.
        records: what is known across restarts.
        plugins: the programs.
    """

    def __init__(self, config: CniConfig, records: CniRecords, plugins: Plugins) -> None:
        self._config = config
        self._ledger = CniLedger(records)
        self._chain = Chain(plugins)
        self._selection = Selection(config.directory, self._chain)
        self._locks = Locks()
        self._gate = Gate()
        self._adding = asyncio.Semaphore(config.parallel)
        self._deleting = asyncio.Semaphore(config.parallel)
        self._starting = asyncio.Lock()
        self._started = False
        # DELs that nobody will ask for again, those that were done, and pods that fail CHECK.
        self._owed: set[str] = set()
        self._done: dict[str, None] = {}
        self._broken: dict[str, str] = {}
        self._unchecked: tuple[str, ...] = ()
        self._collected: Chosen | None = None

    def __repr__(self) -> str:
        owed = f"{len(self._owed)} DELs owed"
        return f"<CniNetwork {self._selection}, {self._ledger}, {owed}>"

    async def attach(self, request: AttachRequest) -> Attachment:
        """Connect a pod; on an error or cancellation everything is undone."""
        await self._start()
        id_ = request.sandbox_id
        async with self._locks.hold(id_), _turn(self._adding):
            return await self._attach(request, await self._usable())

    async def _attach(self, request: AttachRequest, chosen: Chosen) -> Attachment:
        id_ = request.sandbox_id
        async with self._gate.shared():
            pod = self._ledger.reserve(request, chosen)
            async with Rollback(grace=self._config.undo) as undo:
                undo.push(f"disconnect sandbox {id_}", self._undo, id_, pod)
                result = await self._chain.add(id_, pod)
                self._ledger.complete(id_, result)
                undo.keep()
        self._done.pop(id_, None)
        return Attachment(addresses=result.addresses, interface=INTERFACE)

    async def detach(self, sandbox_id: str, netns: Path | None = None) -> None:
        """Disconnect a pod; one without a record, too, as the configuration in force has it."""
        await self._start()
        async with self._locks.hold(sandbox_id), self._gate.shared():
            pod = self._ledger.find(sandbox_id)
            if pod is not None:
                await self._disconnect(sandbox_id, pod)
            elif sandbox_id not in self._done:
                await self._disconnect_stranger(sandbox_id, netns)

    async def recover(self, known: Collection[str]) -> None:
        """Free what belongs to no `known` sandbox or to an ADD that was cut off."""
        await self._start()
        pods = self._ledger.pods()
        self._owed |= {id_ for id_, pod in pods.items() if id_ not in known or not pod.result}
        self._unchecked = tuple(pods.keys() - self._owed)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.recovery):
                await self._repay()
        if self._owed:
            _log.warning("recovery: %d sandboxes are still to be disconnected", len(self._owed))
        await self.check()

    def status(self) -> NetworkStatus:
        """Return whether pods can be connected now, from memory."""
        status = self._selection.status
        if not self._broken:
            return status
        first, *rest = self._broken.values()
        more = f"; so {len(rest)} more" if rest else ""
        return replace(status, message=f"{status.message}; {first}{more}")

    async def set_pod_cidr(self, cidr: str) -> None:
        """Take the node's pod range from Kubernetes, for plugins with the capability ipRanges."""
        chosen = self._selection.chosen
        self._ledger.move(cidr, chosen.configuration.plugins if chosen else ())

    def holds(self, sandbox_id: str) -> bool:
        """Tell whether the sandbox is on record here."""
        return self._ledger.find(sandbox_id) is not None

    async def check(self) -> None:
        """Look at directory and plugins, and collect garbage once for each configuration."""
        await self._selection.refresh()
        chosen = self._selection.chosen
        if chosen is None or chosen == self._collected or not self._gate.idle:
            return
        async with self._gate.alone():
            with _logged():
                await self._chain.collect(chosen, sorted(self._ledger.pods()))
            self._collected = chosen

    async def maintain(self, every: float = 10.0) -> None:
        """Follow the directory and repeat DELs that are owed, until cancelled."""
        with DirectoryWatch(self._config.directory) as watch:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(watch, every), name="follow CNI configurations")
                group.create_task(self._pay_debts(every), name="repeat CNI DELs")
                group.create_task(self._verify(), name="check CNI pods")

    async def close(self) -> None:
        """Return; nothing is held."""

    async def _start(self) -> None:
        """Take over from an earlier daemon, before the first plugin runs."""
        async with self._starting:
            if self._started:
                return
            self._ledger.adopt()
            cut_off = {id_ for id_, pod in self._ledger.pods().items() if not pod.result}
            end = partial(self._chain.plugins.end, cut_off)
            await blocking.run("end plugins of an earlier daemon", "", end)
            self._started = True

    async def _usable(self) -> Chosen:
        if not self._selection.status.ready:
            await self.check()
        chosen, status = self._selection.chosen, self._selection.status
        if chosen is None or not status.ready:
            raise UnavailableError(f"cannot connect pods: {status.reason}: {status.message}")
        return chosen

    async def _undo(self, sandbox_id: str, pod: CniPod) -> None:
        self._owed.add(sandbox_id)
        await self._disconnect(sandbox_id, pod)

    async def _disconnect(self, sandbox_id: str, pod: CniPod) -> None:
        async with _turn(self._deleting):
            await self._chain.delete(sandbox_id, pod)
        self._ledger.release(sandbox_id)
        self._owed.discard(sandbox_id)
        self._broken.pop(sandbox_id, None)
        self._remember(sandbox_id)

    async def _disconnect_stranger(self, sandbox_id: str, netns: Path | None) -> None:
        if self._selection.chosen is None:
            await self._selection.refresh()
        chosen = self._selection.chosen
        if chosen is not None:
            async with _turn(self._deleting):
                with _logged():
                    await self._chain.delete(sandbox_id, plain(chosen, str(netns or "")))
            self._remember(sandbox_id)

    def _remember(self, sandbox_id: str) -> None:
        """Note that a DEL is done, so that asking again starts no plugin."""
        self._done[sandbox_id] = None
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]

    async def _follow(self, watch: DirectoryWatch, every: float) -> None:
        while True:
            await watch.changed(every)
            await self.check()

    async def _pay_debts(self, every: float) -> None:
        pause = every
        while True:
            await asyncio.sleep(pause)
            await self._repay()
            pause = min(pause * 2, _LONGEST_PAUSE) if self._owed else every

    async def _repay(self) -> None:
        places = asyncio.Semaphore(_PARALLEL)

        async def one(id_: str) -> None:
            async with places:
                with _logged():
                    await self.detach(id_)

        async with asyncio.TaskGroup() as group:
            for id_ in sorted(self._owed):
                group.create_task(one(id_))

    async def _verify(self) -> None:
        """CHECK the pods that an earlier daemon connected, one after the other, once."""
        for id_ in sorted(self._unchecked):
            async with self._locks.hold(id_):
                pod = self._ledger.find(id_)
                if pod is None:
                    continue
                try:
                    await self._chain.check(id_, pod)
                except Error as error:
                    _log.warning("%s", error)
                    self._broken[id_] = str(error)


@contextlib.asynccontextmanager
async def _turn(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """Take a place for the block."""
    if places.locked():
        operations.stage("network", "wait for the plugins of other pods")
    async with places:
        yield


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Go on after an error that only leaves something behind, which is tried again."""
    try:
        yield
    except (Error, OSError) as error:
        _log.warning("%s", error)
