"""The built-in network: one bridge, a pair of interfaces for each pod, host ports in nftables.

A pod's record (its link, addresses and host ports) is on disk before anything is made, and goes
after everything is gone, so after a crash `recover` knows of every address that may be in use; what
the kernel has and no record knows is deleted.

An interface is never deleted on the way: that takes the kernel 16 ms, and dropping the namespace
does it for nothing. `detach` takes the interface down, so the pod is cut off at once, and deletes
it some seconds later in case its namespace has stayed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from runtime import blocking
from runtime.network import Attachment, AttachRequest, NetworkStatus, links
from runtime.network.connection import Condemned, Connection
from runtime.network.ledger import Ledger, NetworkRecords
from runtime.network.wires import BridgeConfig, PodLink, Wires
from runtime.rollback import Rollback
from store.errors import Error, UnavailableError

_log = logging.getLogger(__name__)


class BridgeNetwork:
    """`Network` by a bridge of its own.

    Args:
        config: names and ranges; other daemons on the node need others.
        records: what is known across restarts.
        wires: the kernel; owned, `close` closes it.
        grace: seconds after which a detached interface is deleted if it is still there.
    """

    def __init__(
        self, config: BridgeConfig, records: NetworkRecords, wires: Wires, *, grace: float = 2.0
    ) -> None:
        self._name = config.name
        self._ledger = Ledger(config.name, records, config.subnets)
        self._wires = wires
        self._condemned = Condemned(wires, grace)
        self._setting_up = asyncio.Lock()
        self._status = NetworkStatus(ready=False, reason="NotSetUp", message="not set up yet")
        self._owed: set[str] = set()

    def __repr__(self) -> str:
        return f"<BridgeNetwork {self._name}: {self._status.reason}, {self._ledger}>"

    async def attach(self, request: AttachRequest) -> Attachment:
        """Connect a pod; on an error or cancellation everything is undone."""
        await self._set_up()
        id_ = request.sandbox_id
        pod = self._ledger.reserve(request)
        connection = Connection(self._wires, pod, replaces=self._condemned.discard(pod.link))
        async with Rollback() as undo:
            undo.push(f"disconnect sandbox {id_}", self._undo, id_, connection)
            with _explained(f"connect sandbox {id_}"):
                connect = partial(connection.on, request.netns)
                await blocking.run("connect the network", id_, connect)
            undo.keep()
        return Attachment(addresses=pod.addresses, interface=links.POD_INTERFACE)

    async def detach(self, sandbox_id: str, netns: Path | None = None) -> None:
        """Give back addresses, ports and interfaces; unknown ids are no error."""
        del netns  # the pod is cut off at the node's end
        pod = self._ledger.find(sandbox_id)
        if pod is None:
            return
        await self._disconnect(sandbox_id, pod)
        if self._ledger.release(sandbox_id, pod):
            self._condemned.add(pod.link)

    async def recover(self, known: Collection[str]) -> None:
        """Set up what the node needs, free what belongs to no `known` sandbox.

        If the node can not be set up now, `status` says why; `check` and `attach` try again.
        """
        self._ledger.adopt()
        pods = self._ledger.pods()
        self._wires.adopt(pods.values())
        try:
            await self._set_up()
        except UnavailableError as error:
            _log.warning("recovery: %s", error)
        self._owed = set(pods.keys() - set(known))
        await self._repay()
        with _logged():
            await self._cut_off_strangers()

    def status(self) -> NetworkStatus:
        """Return whether pods can be connected now, from memory."""
        return self._status

    async def set_pod_cidr(self, cidr: str) -> None:
        """Take the node's pod range from Kubernetes; kept across restarts."""
        if self._ledger.move(cidr):
            self._fail("NotSetUp", f"moving to {cidr}")
            await self._set_up()

    def holds(self, sandbox_id: str) -> bool:
        """Tell whether the sandbox is on record here."""
        return self._ledger.find(sandbox_id) is not None

    async def maintain(self, every: float = 10.0) -> None:
        """Run `check` every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.check()

    async def check(self) -> None:
        """Make bridge and rules again if somebody removed them; repeat what failed before."""
        await self._repay()
        if self._status.ready:
            if await blocking.run("check the network", self._name, self._wires.intact):
                return
            _log.warning("the bridge %s or its rules are gone; making them again", self._name)
            self._fail("BridgeGone", f"the bridge {self._name} or its rules are gone")
        with contextlib.suppress(UnavailableError):  # it is in the status
            await self._set_up()

    async def teardown(self) -> None:
        """Take the whole network off the node, records included: for uninstalling."""
        shapers = {pod.shaper for pod in self._ledger.pods().values() if pod.shaper}
        self._ledger.clear()
        self._fail("NotSetUp", "torn down")
        with _explained(f"remove the bridge {self._name}"):
            remove = partial(self._remove_all, self._condemned.take() | shapers)
            await blocking.run("remove the network", self._name, remove)

    async def close(self) -> None:
        """Delete the interfaces that are due, and give back what the daemon holds."""
        delete = partial(self._wires.delete, self._condemned.take())
        with _logged():
            await blocking.run("delete interfaces", self._name, delete)
        self._wires.close()

    async def _repay(self) -> None:
        """Disconnect what nobody else will."""
        for id_ in sorted(self._owed):
            with _logged():
                await self.detach(id_)
                self._owed.discard(id_)

    async def _set_up(self) -> None:
        if self._status.ready:
            return
        async with self._setting_up:
            while not self.status().ready:
                await self._set_up_as_ranges_are()

    async def _set_up_as_ranges_are(self) -> None:
        subnets, pods = self._ledger.subnets, tuple(self._ledger.pods().values())
        set_up = partial(self._wires.set_up, subnets, pods)
        try:
            warnings = await blocking.run("set up the network", self._name, set_up)
        except (Error, OSError) as error:
            self._fail("BridgeSetUpFailed", _words(error))
            message = f"cannot set up the bridge {self._name}: {_words(error)}"
            raise UnavailableError(message) from error
        if subnets == self._ledger.subnets:  # they may have moved meanwhile
            self._succeed(warnings)

    def _succeed(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            _log.warning("network: %s", warning)
        self._status = NetworkStatus(ready=True, reason="BridgeReady", message="; ".join(warnings))

    def _fail(self, reason: str, message: str) -> None:
        self._status = NetworkStatus(ready=False, reason=reason, message=message)

    async def _disconnect(self, subject: str, pod: PodLink) -> None:
        disconnect = partial(self._wires.disconnect, pod)
        with _explained(f"disconnect sandbox {subject}"):
            await blocking.run("disconnect the network", subject, disconnect)

    async def _undo(self, sandbox_id: str, connection: Connection) -> None:
        await blocking.run("disconnect the network", sandbox_id, connection.off)
        self._ledger.release(sandbox_id, connection.pod)

    async def _cut_off_strangers(self) -> None:
        """Delete interfaces on the bridge that belong to no record."""
        own = {pod.link for pod in self._ledger.pods().values()}
        present = await blocking.run("list interfaces", self._name, self._wires.ports)
        for name in sorted(set(present) - own):
            await self._disconnect(name, PodLink(link=name, addresses=()))
            self._condemned.add(name)

    def _remove_all(self, condemned: Collection[str]) -> None:
        self._wires.delete({*condemned, *self._wires.ports()})
        self._wires.tear_down()


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Raise what the kernel refuses as an error of ours."""
    try:
        yield
    except OSError as error:
        raise Error(f"cannot {doing}: {_words(error)}") from error


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Go on after an error that only leaves something behind."""
    try:
        yield
    except (Error, OSError) as error:
        _log.warning("recovery: %s", _words(error))


def _words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
