import itertools

import pytest

from tests.contracts.cgroups import Bench, CgroupsContract
from tests.fakes.cgroups import MemoryCgroups


class _MemoryBench:
    def __init__(self) -> None:
        self.cgroups = MemoryCgroups()
        self._numbers = itertools.count(100)

    def make(self, directory: str) -> None:
        parts = directory.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self.cgroups.members.setdefault("/" + "/".join(parts[:count]), [])

    def enter(self, directory: str) -> int:
        pid = next(self._numbers)
        self.cgroups.members[directory].append(pid)
        return pid

    def exists(self, directory: str) -> bool:
        return directory in self.cgroups.members


class TestMemoryCgroups(CgroupsContract):
    @pytest.fixture
    def bench(self) -> Bench:
        return _MemoryBench()
