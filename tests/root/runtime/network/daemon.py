"""A daemon's network alone, for tests that kill it: `daemon.py DATABASE PODS`.

It recovers, says so, and connects and disconnects the pods in PODS (directories with pinned
namespaces) for ever.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from runtime.network import AttachRequest, PortMapping
from runtime.network.bridge import BridgeNetwork
from runtime.network.ledger import NetworkRecords, PodRange
from runtime.network.linux import LinuxWires
from runtime.network.wires import BridgeConfig, PodLink
from store.database import Database
from store.metadata.records import SqliteRecords

CONFIG = BridgeConfig(name="ferry-test", subnets=("10.99.0.0/24",))


def network(database: Database) -> BridgeNetwork:
    records = NetworkRecords(
        pods=SqliteRecords(database, "pod_network", PodLink),
        ranges=SqliteRecords(database, "pod_range", PodRange),
    )
    return BridgeNetwork(CONFIG, records, LinuxWires(CONFIG))


async def main(database: Path, directories: list[Path]) -> None:
    with Database(database) as opened:
        bridge = network(opened)
        await bridge.recover({directory.name for directory in directories})
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for directory in directories:
            await bridge.detach(directory.name)
        for directory in itertools.cycle(directories):
            port = PortMapping(protocol="udp", container_port=53, host_port=5353)
            netns = directory / "net"
            await bridge.attach(
                AttachRequest(sandbox_id=directory.name, netns=netns, ports=(port,))
            )
            await bridge.detach(directory.name)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())))
