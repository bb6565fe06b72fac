"""CNI plugins without processes: one that gives addresses, and any number that pass results on."""

import asyncio
import ipaddress
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from runtime.network.cni import Call, Json, Target, Verb
from runtime.network.cni.ledger import CniRecords
from runtime.network.cni.network import CniConfig, CniNetwork
from store.errors import Error, FailedPreconditionError, ResourceExhaustedError
from tests.cni import chain, cni_records, write

SPOKEN = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")


class _Range(msgspec.Struct):
    subnet: str


class _Runtime(msgspec.Struct):
    ipRanges: list[list[_Range]] = []  # noqa: N815 - the specification's names


class _Attachment(msgspec.Struct):
    containerID: str  # noqa: N815


class _Asked(msgspec.Struct):
    prevResult: object = None  # noqa: N815
    runtimeConfig: _Runtime = msgspec.field(default_factory=_Runtime)  # noqa: N815
    valid: list[_Attachment] = msgspec.field(name="cni.dev/valid-attachments", default_factory=list)


class MemoryPlugins:
    """`Plugins` that remember what they were asked, and who has which address.

    `addresses` gives them in turn of the range it is told; the other types pass on what they get.
    `failures` maps type and verb to what every such call raises until it is taken out, with the
    address given or taken by then; `hold` keeps calls of ADD from ending.
    """

    def __init__(self, *types: str) -> None:
        self.types = {"addresses", *types}
        self.spoken: dict[str, Sequence[str]] = {}
        self.calls: list[Call] = []
        self.leases: dict[str, str] = {}
        self.failures: dict[tuple[str, Verb], Error] = {}
        self.ended: list[set[str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.adding = asyncio.Event()
        self._last = 0

    def verbs(self) -> list[str]:
        """Return what was asked of whom, as `type verb`, without questions for versions."""
        return [f"{each.plugin} {each.verb}" for each in self.calls if each.verb != Verb.VERSION]

    def missing(self, types: Sequence[str]) -> str:
        names = [name for name in types if name not in self.types]
        return f"{', '.join(names)} not found in memory" if names else ""

    def end(self, sandbox_ids: Collection[str]) -> None:
        self.ended.append(set(sandbox_ids))

    async def call(self, call: Call) -> str:
        self.calls.append(call)
        if call.plugin not in self.types:
            raise FailedPreconditionError(f"{call.problem}: not found in memory")
        answer = self._answer(call)
        if call.verb is Verb.ADD:
            self.adding.set()
            await self.hold.wait()
        failure = self.failures.get((call.plugin, call.verb))
        if failure is not None:
            raise type(failure)(f"{call.problem}: {failure}")
        return msgspec.json.encode(answer).decode()

    def _answer(self, call: Call) -> object:
        if call.verb is Verb.VERSION:
            return {"supportedVersions": list(self.spoken.get(call.plugin, SPOKEN))}
        asked = msgspec.json.decode(call.document, type=_Asked)
        if call.plugin != "addresses":
            return asked.prevResult
        if call.verb is Verb.GC:
            kept = {each.containerID for each in asked.valid}
            self.leases = {id_: each for id_, each in self.leases.items() if id_ in kept}
        elif call.target and call.verb is Verb.DEL:
            self.leases.pop(call.target.container_id, None)
        elif call.target and call.verb is Verb.ADD:
            return self._add(call, call.target, asked)
        return None

    def _add(self, call: Call, target: Target, asked: "_Asked") -> object:
        # A namespace is entered, which fails without one.
        if not Path(target.netns).exists():
            raise Error(f"{call.problem}: no namespace at {target.netns}")
        ranges = asked.runtimeConfig.ipRanges
        address = self._free(call, ranges[0][0].subnet if ranges else "10.99.0.0/28")
        self.leases[target.container_id] = address
        inside = {"name": "eth0", "sandbox": target.netns}
        return {"interfaces": [inside], "ips": [{"address": f"{address}/28", "interface": 0}]}

    def _free(self, call: Call, subnet: str) -> str:
        hosts = list(ipaddress.ip_network(subnet).hosts())[1:]
        for _ in hosts:
            self._last = (self._last + 1) % len(hosts)
            address = str(hosts[self._last])
            if address not in self.leases.values():
                return address
        raise ResourceExhaustedError(f"{call.problem}: no IP addresses available in {subnet}")


class MemoryCni(CniNetwork):
    """`Network` by plugins in memory, for a configuration of these types."""

    def __init__(
        self,
        directory: Path,
        records: CniRecords | None = None,
        plugins: MemoryPlugins | None = None,
    ) -> None:
        self.plugins = plugins or MemoryPlugins()
        self.records = records or cni_records()
        config = CniConfig(directory=directory, recovery=5, undo=5, parallel=4)
        super().__init__(config, self.records, self.plugins)


def configure(directory: Path, *types: str, version: str = "1.0.0", **more: Json) -> None:
    """Put a configuration of the fake plugins into a directory."""
    capabilities: dict[str, Json] = dict.fromkeys(("ipRanges", "portMappings", "bandwidth"), True)
    plugins: list[dict[str, Json]] = [
        {"type": name, "capabilities": capabilities} for name in ("addresses", *types)
    ]
    write(directory / "10-fake.conflist", chain(*plugins, version=version, **more))
