from pathlib import Path

import pytest

from runtime.network import Network
from runtime.network.wires import BridgeConfig
from tests.cni import cni_records
from tests.contracts.network import SUBNET, Bench, NetworkContract
from tests.fakes.cni import MemoryCni, MemoryPlugins, configure
from tests.fakes.network import MemoryNetwork, MemoryWires, memory_records


class MemoryBench:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records = memory_records()
        self._wires = MemoryWires()

    async def network(self) -> Network:
        config = BridgeConfig(subnets=(SUBNET,))
        return MemoryNetwork(self._records, self._wires, config)

    def netns(self, name: str) -> Path:
        path = self._directory / name
        path.touch()
        return path


class CniBench:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records = cni_records(SUBNET)
        self._plugins = MemoryPlugins("ports")
        configure(directory / "net.d", "ports")

    async def network(self) -> Network:
        return MemoryCni(self._directory / "net.d", self._records, self._plugins)

    def netns(self, name: str) -> Path:
        path = self._directory / name
        path.touch()
        return path


class TestMemoryNetwork(NetworkContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        return MemoryBench(tmp_path)


class TestMemoryCni(NetworkContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        return CniBench(tmp_path)
