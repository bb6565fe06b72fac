"""CNI for tests: configurations, records, and nodes whose pods are connected by real plugins."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from runtime.kernel import NamespaceRequest
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.network import Attachment, AttachRequest, PortMapping
from runtime.network.cni import Json
from runtime.network.cni.ledger import CniPod, CniRecords
from runtime.network.cni.network import CniConfig, CniNetwork
from runtime.network.cni.programs import Programs
from runtime.network.ledger import PodRange
from runtime.tools import search_path
from store.metadata.records import MemoryRecords

PLUGINS: Final = Path("/usr/lib/cni")
BRIDGE: Final = "cnitest0"
ENVIRONMENT: Final = {"PATH": search_path()}

# A script that passes on what the plugin before it has made.
ONWARD: Final = "sed 's/.*\"prevResult\": *//; s/}$//'"

Document = dict[str, Json]


def real_plugins() -> Path:
    """Return where the distribution's plugins are; skip with the reason."""
    if not (PLUGINS / "bridge").exists():
        pytest.skip(f"no CNI plugins in {PLUGINS} (package containernetworking-plugins)")
    return PLUGINS


def cni_records(*ranges: str) -> CniRecords:
    """Return records in memory, with the node's pod ranges if there are any."""
    tables: MemoryRecords[PodRange] = MemoryRecords("range")
    if ranges:
        tables.put("cni", "range", PodRange(subnets=ranges))
    pods: MemoryRecords[CniPod] = MemoryRecords("network.cni")
    return CniRecords(pods=pods, ranges=tables)


def chain(*plugins: Mapping[str, Json], version: str = "1.0.0", **more: Json) -> Document:
    """Return a configuration list of these plugins."""
    return {
        "cniVersion": version,
        "name": "podnet",
        "plugins": [dict(plugin) for plugin in plugins],
        **more,
    }


def bridge_plugin(leases: Path, *subnets: str) -> Document:
    """Return the bridge plugin with host-local addresses, of `subnets` or else of the node's."""
    routes: list[Json] = [{"dst": "0.0.0.0/0"}]
    if any(":" in subnet for subnet in subnets):
        routes.append({"dst": "::/0"})
    ranges: Json = [[{"subnet": subnet}] for subnet in subnets]
    return {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "capabilities": {"ipRanges": True},
        "ipam": {
            "type": "host-local",
            "dataDir": str(leases),
            "routes": routes,
            **({"ranges": ranges} if subnets else {}),
        },
    }


PORTMAP: Final[Document] = {
    "type": "portmap",
    "capabilities": {"portMappings": True},
    "snat": True,
}
BANDWIDTH: Final[Document] = {"type": "bandwidth", "capabilities": {"bandwidth": True}}


def write(path: Path, document: Document) -> None:
    """Put a configuration in its place, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(document))
    draft.rename(path)


def script(directory: Path, name: str, text: str) -> Path:
    """Make a plugin of a shell script."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@dataclass(kw_only=True)
class CniNode:
    """A node with CNI and the namespaces of its pods; `directories` have its plugins."""

    path: Path
    directories: Sequence[Path]
    records: CniRecords = field(default_factory=cni_records)
    timeout: float = 30.0
    namespaces: LinuxNamespaces = field(default_factory=LinuxNamespaces)

    def __post_init__(self) -> None:
        self.network = self.make()

    @property
    def configurations(self) -> Path:
        return self.path / "net.d"

    @property
    def leases(self) -> Path:
        """Where host-local keeps a file for each address that is in use."""
        return self.path / "leases"

    def leased(self) -> set[str]:
        """Return the addresses that host-local has given out."""
        names = {path.name for path in self.leases.glob("*/*")}
        return {name for name in names if name[0].isdigit()}

    def make(self) -> CniNetwork:
        """Make a network over the same records, as a new daemon would."""
        config = CniConfig(directory=self.configurations, recovery=10, undo=10)
        programs = Programs(self.directories, ENVIRONMENT, timeout=self.timeout)
        return CniNetwork(config, self.records, programs)

    async def restart(self) -> CniNetwork:
        """Replace the network by one of a new daemon, which has not recovered yet."""
        await self.network.close()
        self.network = self.make()
        return self.network

    def netns(self, name: str) -> Path:
        """Return a pod's namespace, made at the first call."""
        directory = self.path / "pods" / name
        if not self.namespaces.alive(directory, ("net",)):
            self.namespaces.create(NamespaceRequest(directory=directory, ipc=False, uts=False))
        return directory / "net"

    def remove(self, name: str) -> None:
        """Remove a pod's namespace."""
        self.namespaces.remove(self.path / "pods" / name)

    async def attach(
        self, name: str, *ports: PortMapping, annotations: Mapping[str, str] | None = None
    ) -> Attachment:
        """Connect a pod, made if need be."""
        request = AttachRequest(
            sandbox_id=name,
            netns=self.netns(name),
            pod_namespace="default",
            pod_name=name,
            pod_uid=f"uid-{name}",
            ports=ports,
            annotations=annotations or {},
        )
        return await self.network.attach(request)

    async def leave(self) -> None:
        """Take away the pods, and what plugins leave on purpose."""
        pods = self.path / "pods"
        for directory in sorted(pods.iterdir()) if pods.exists() else ():
            await self.network.detach(directory.name)
            self.remove(directory.name)
        await self.network.close()
        await asyncio.to_thread(_forget)


def _forget() -> None:
    """Remove the bridge and the chains that plugins share among pods."""
    for command in (
        ("ip", "link", "delete", BRIDGE),
        ("nft", "flush", "ruleset"),
    ):
        subprocess.run(command, capture_output=True, check=False)


@asynccontextmanager
async def cni_node(
    path: Path, *documents: Document, directories: Sequence[Path] = (), timeout: float = 30.0
) -> AsyncIterator[CniNode]:
    """Hold a node whose network is in force; afterwards its pods are gone.

    Args:
        path: a directory of its own.
        documents: its configurations.
        directories: plugins that go before the distribution's.
        timeout: of each plugin, in seconds.
    """
    places = (*directories, real_plugins())
    node = CniNode(path=path, directories=places, timeout=timeout)
    for number, document in enumerate(documents, 10):
        write(node.configurations / f"{number}-test.conflist", document)
    try:
        await node.network.recover(())
        yield node
    finally:
        await node.leave()
