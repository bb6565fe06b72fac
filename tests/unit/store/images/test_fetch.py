import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.content import Descriptor
from store.digest import Digest, sha256
from store.errors import DataLossError, UnavailableError
from store.images import Progress, manifest
from store.images.fetch import Fetcher, Task
from store.images.growth import Growth
from store.images.registry import Sink
from store.locks import Locks
from tests.fakes.protection import NotedLease
from tests.pulling import GZIP, NAMESPACE, Node

DATA = b"layer" * 1000
DOCUMENT = b'{"schemaVersion": 2}'


class Remote:
    """Sends what it is told to, in two pieces."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.asked: list[Digest] = []
        self.breaks = False

    async def resolve(self) -> Descriptor:
        raise AssertionError

    async def document(self, wanted: Descriptor) -> bytes:
        self.asked.append(wanted.digest)
        return DOCUMENT

    async def fetch(self, blob: Descriptor, sink: Sink) -> None:
        self.asked.append(blob.digest)
        middle = max(len(self.data) // 2, sink.offset)
        await sink.write(self.data[sink.offset : middle])
        if self.breaks:
            raise UnavailableError("it broke")
        await sink.write(self.data[middle:])

    def distrust(self, digest: Digest) -> bool:
        del digest
        return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


@contextlib.asynccontextmanager
async def fetching(
    node: Node, remote: Remote, told: list[Progress], namespace: str = NAMESPACE
) -> AsyncIterator[tuple[Fetcher, NotedLease]]:
    async with node.protection.lease(namespace) as lease:
        task = Task(
            namespace=namespace, remote=remote, lease=lease, source={"s": "x"}, report=told.append
        )
        yield Fetcher(node.content, Locks(), task), lease


LAYER = Descriptor(media_type=GZIP, digest=sha256(DATA), size=len(DATA))
MANIFEST = Descriptor(media_type=manifest.OCI_MANIFEST, digest=sha256(DOCUMENT), size=20)


async def test_a_blob_is_told_of_while_it_comes(node: Node) -> None:
    growth, told = Growth(), list[Progress]()
    async with fetching(node, Remote(), told) as (fetcher, lease):
        await fetcher.blob(LAYER, growth)
    await growth.published()
    assert (growth.path, growth.kept) == (node.content.path(LAYER.digest), False)
    assert [progress.done for progress in told] == [0, 0, 2500, 5000]  # waits, begins, comes
    assert lease.added == [f"content {LAYER.digest}", f"ingest layer-{LAYER.digest}"]
    assert (await node.content.info(NAMESPACE, LAYER.digest)).labels == {"s": "x"}
    assert fetcher.fetched


async def test_what_is_there_is_not_fetched_unless_it_is_no_good(node: Node) -> None:
    remote, told = Remote(), list[Progress]()
    async with fetching(node, remote, told) as (fetcher, _):
        await fetcher.blob(LAYER, Growth())
        growth = Growth()
        told.clear()
        await fetcher.blob(LAYER, growth)
        assert growth.kept
        assert len(remote.asked) == 1
        assert [progress.done for progress in told] == [0]
        await fetcher.blob(LAYER, growth, fresh=True)
        assert len(remote.asked) == 2
    async with fetching(node, remote, [], "other") as (fetcher, _):
        await fetcher.blob(LAYER, growth)
        assert growth.kept
        assert not fetcher.fetched


async def test_what_broke_goes_on_later(node: Node) -> None:
    growth, remote = Growth(), Remote()
    async with fetching(node, remote, []) as (fetcher, _):
        remote.breaks = True
        await fetcher.blob(LAYER, growth)
        assert isinstance(await growth.settled(), UnavailableError)
        remote.breaks, told = False, Growth()
        await fetcher.blob(LAYER, told)
        assert await told.settled() is None


async def test_nothing_stays_of_what_is_wrong(node: Node) -> None:
    growth = Growth()
    async with fetching(node, Remote(bytes(len(DATA))), []) as (fetcher, _):
        await fetcher.blob(LAYER, growth)
    assert isinstance(await growth.settled(), DataLossError)
    assert await node.content.ingests() == []
    assert await node.blobs() == set()


async def test_a_document_is_fetched_once(node: Node) -> None:
    remote = Remote()
    async with fetching(node, remote, []) as (fetcher, _):
        assert await fetcher.document(MANIFEST) == DOCUMENT
        assert await fetcher.document(MANIFEST) == DOCUMENT
    async with fetching(node, remote, [], "other") as (fetcher, _):
        assert await fetcher.document(MANIFEST) == DOCUMENT
    assert remote.asked == [MANIFEST.digest]


async def test_a_document_that_rotted_is_fetched_again(node: Node) -> None:
    remote = Remote()
    async with fetching(node, remote, []) as (fetcher, _):
        await fetcher.document(MANIFEST)
        node.content.path(MANIFEST.digest).write_bytes(bytes(len(DOCUMENT)))
        assert await fetcher.document(MANIFEST) == DOCUMENT
    assert remote.asked == [MANIFEST.digest] * 2
    assert await node.content.read(NAMESPACE, MANIFEST.digest, limit=100) == DOCUMENT
