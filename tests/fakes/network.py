"""The bridge network without a kernel: the real decisions and records over wires in memory."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from runtime.network.addresses import Subnet
from runtime.network.bridge import BridgeNetwork
from runtime.network.ledger import NetworkRecords
from runtime.network.wires import BridgeConfig, PodLink
from store.metadata.records import MemoryRecords


class MemoryWires:
    """`Wires` that remember who is connected.

    `failures` maps a method's name to what its next call raises, before it does anything;
    `halfway` does the same for `connect`, after it has made the interface.
    """

    def __init__(self) -> None:
        self.connected: dict[str, PodLink] = {}
        self.down: set[str] = set()
        self.failures: dict[str, Exception] = {}
        self.halfway: Exception | None = None
        self.subnets: tuple[Subnet, ...] = ()
        self.warnings: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.connecting = threading.Event()
        self.setting_up = threading.Event()

    def adopt(self, pods: Iterable[PodLink]) -> None:
        self._fail("adopt")
        for pod in pods:
            self.connected.setdefault(pod.link, pod)

    def set_up(self, subnets: Sequence[Subnet], pods: Iterable[PodLink]) -> list[str]:
        del pods
        self._fail("set_up")
        self.setting_up.set()
        assert self.hold.wait(10)
        self.subnets = tuple(subnets)
        return self.warnings

    def intact(self) -> bool:
        return bool(self.subnets)

    def connect(self, pod: PodLink, netns: Path) -> None:
        self._fail("connect")
        self.connecting.set()
        assert self.hold.wait(10)
        netns.stat()
        assert pod.link not in self.connected
        self.connected[pod.link] = pod
        if self.halfway is not None:
            failure, self.halfway = self.halfway, None
            raise failure

    def disconnect(self, pod: PodLink) -> None:
        self._fail("disconnect")
        if pod.link in self.connected:
            self.down.add(pod.link)

    def delete(self, names: Iterable[str]) -> None:
        self._fail("delete")
        for name in names:
            self.connected.pop(name, None)
            self.down.discard(name)

    def ports(self) -> list[str]:
        self._fail("ports")
        return list(self.connected)

    def tear_down(self) -> None:
        self._fail("tear_down")
        self.subnets = ()

    def close(self) -> None:
        self._fail("close")

    def _fail(self, method: str) -> None:
        failure = self.failures.pop(method, None)
        if failure is not None:
            raise failure


def memory_records() -> NetworkRecords:
    return NetworkRecords(pods=MemoryRecords("network"), ranges=MemoryRecords("range"))


class MemoryNetwork(BridgeNetwork):
    """`Network` for tests of whoever connects pods; `wires` shows and breaks what it does."""

    def __init__(
        self,
        records: NetworkRecords | None = None,
        wires: MemoryWires | None = None,
        config: BridgeConfig | None = None,
    ) -> None:
        self.wires = wires or MemoryWires()
        self.records = records or memory_records()
        super().__init__(config or BridgeConfig(), self.records, self.wires, grace=0.01)
