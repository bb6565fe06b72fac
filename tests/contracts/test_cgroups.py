import pytest

from tests.contracts.cgroups import Bench, CgroupsContract
from tests.fakes.cgroups import MemoryBench


class TestMemoryCgroups(CgroupsContract):
    @pytest.fixture
    def bench(self) -> Bench:
        return MemoryBench()
