from collections.abc import AsyncIterator

import pytest

from store.images import Unpacker
from store.images.unpack import WorkerUnpacker
from tests.contracts.unpacker import UnpackerContract
from tests.fakes.unpacker import FakeUnpacker


class TestFakeUnpacker(UnpackerContract):
    @pytest.fixture
    def unpacker(self) -> Unpacker:
        return FakeUnpacker()


@pytest.mark.root
class TestWorkerUnpacker(UnpackerContract):
    @pytest.fixture
    async def unpacker(self) -> AsyncIterator[Unpacker]:
        async with WorkerUnpacker() as unpacker:
            yield unpacker
