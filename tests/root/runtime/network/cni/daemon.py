"""A daemon's CNI network alone, for tests that kill it: `daemon.py DATABASE NODE`.

It recovers, says so, and connects and disconnects the pods of NODE for ever.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from runtime.network import PortMapping
from runtime.network.cni.ledger import CniPod, CniRecords
from runtime.network.ledger import PodRange
from store.database import Database
from store.metadata.records import SqliteRecords
from tests.cni import PLUGINS, CniNode

NAMES = ("pod0", "pod1", "pod2")


def node(database: Database, path: Path) -> CniNode:
    records = CniRecords(
        pods=SqliteRecords(database, "network.cni", CniPod),
        ranges=SqliteRecords(database, "network.ranges", PodRange),
    )
    return CniNode(path=path, directories=(PLUGINS,), records=records)


async def main(database: Path, path: Path) -> None:
    with Database(database) as opened:
        pods = node(opened, path)
        await pods.network.recover(())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for name in itertools.cycle(NAMES):
            port = PortMapping(protocol="tcp", container_port=80, host_port=8080)
            await pods.attach(name, port)
            await pods.network.detach(name)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
