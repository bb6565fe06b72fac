from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.images import ImageStore
from tests.contracts.images import ImageStoreContract
from tests.fakes.images import FakeImages, image
from tests.fakes.registry import FakeRegistry, serving
from tests.pulling import Built, Node


class TestImages(ImageStoreContract):
    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeRegistry]:
        async with serving() as registry:
            Built().push(registry, "app", "v1")
            yield registry

    @pytest.fixture
    def name(self, server: FakeRegistry) -> str:
        return f"{server.host}/app:v1"

    @pytest.fixture
    async def images(self, tmp_path: Path) -> AsyncIterator[ImageStore]:
        node = Node(tmp_path)
        async with node.images() as images:
            yield images
        node.close()


class TestFakeImages(ImageStoreContract):
    @pytest.fixture
    def name(self) -> str:
        return "registry.example/app:v1"

    @pytest.fixture
    def images(self, name: str) -> ImageStore:
        return FakeImages(image(1, name))
