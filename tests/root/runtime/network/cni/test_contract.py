"""The contract of networks on real plugins."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from runtime.network import Network
from tests.cni import PORTMAP, CniNode, bridge_plugin, chain, cni_records, real_plugins, write
from tests.contracts.network import SUBNET, Bench, NetworkContract

pytestmark = pytest.mark.root


class CniBench:
    def __init__(self, node: CniNode) -> None:
        self._node = node

    async def network(self) -> Network:
        return await self._node.restart()

    def netns(self, name: str) -> Path:
        return self._node.netns(name)


class TestCniNetwork(NetworkContract):
    exhausted: ClassVar[str] = r"10\.99\.0\.1-10\.99\.0\.14"

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        plugins = (real_plugins(),)
        node = CniNode(path=tmp_path, directories=plugins, records=cni_records(SUBNET))
        document = chain(bridge_plugin(node.leases), PORTMAP)
        write(node.configurations / "10-test.conflist", document)
        yield CniBench(node)
        await node.leave()
        assert node.leased() == set()
        assert list(node.records.pods.walk()) == []
