import pytest

from runtime.kernel import Mounts, Namespaces
from tests.contracts.kernel import MountsContract, NamespacesContract
from tests.fakes.kernel import MemoryMounts, MemoryNamespaces


class TestMemoryMounts(MountsContract):
    @pytest.fixture
    def mounts(self) -> Mounts:
        return MemoryMounts()


class TestMemoryNamespaces(NamespacesContract):
    @pytest.fixture
    def namespaces(self) -> Namespaces:
        return MemoryNamespaces()
