"""What every implementation of `store.content.ContentStore` must do."""

import asyncio

import pytest

from store import errors
from store.content import ContentStore, Descriptor
from store.digest import Digest, sha256

DATA = b"some content " * 20_000
DIGEST = sha256(DATA)


def descriptor(data: bytes, digest: str | None = None, size: int | None = None) -> Descriptor:
    return Descriptor(
        media_type="application/octet-stream",
        digest=Digest(sha256(data) if digest is None else digest),
        size=len(data) if size is None else size,
    )


async def put(
    content: ContentStore, data: bytes = DATA, namespace: str = "one", **labels: str
) -> Digest:
    async with content.ingest(namespace, f"put-{sha256(data)}", descriptor(data)) as ingest:
        await ingest.write(data)
        await ingest.commit(labels)
    return sha256(data)


class ContentContract:
    """A subclass supplies the fixture `content`: an empty store."""

    async def test_what_is_committed_can_be_read(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            for start in range(0, len(DATA), 100_000):
                await ingest.write(memoryview(DATA)[start : start + 100_000])
            assert ingest.offset == len(DATA)
            assert ingest.path.read_bytes() == DATA
            blob = await ingest.commit({"a": "b"})
        assert (blob.digest, blob.size, blob.labels) == (DIGEST, len(DATA), {"a": "b"})
        assert await content.info("one", DIGEST) == blob
        assert await content.read("one", DIGEST, limit=len(DATA)) == DATA
        assert content.path(DIGEST).read_bytes() == DATA
        assert await content.ingests() == []

    async def test_an_empty_blob(self, content: ContentStore) -> None:
        digest = await put(content, b"")
        assert await content.read("one", digest, limit=0) == b""

    async def test_nothing_is_seen_before_the_commit(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA)
            with pytest.raises(errors.NotFoundError, match=DIGEST):
                await content.info("one", DIGEST)
            assert [blob async for blob in content.walk("one")] == []

    async def test_an_unknown_size_and_digest_are_found_out(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA, digest="", size=0)) as ingest:
            await ingest.write(DATA)
            blob = await ingest.commit()
        assert (blob.digest, blob.size) == (DIGEST, len(DATA))

    async def test_sha512(self, content: ContentStore) -> None:
        digest = (
            "sha512:ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db2"
            "7ac185f8a0e1d5f84f88bc887fd67b143732c304cc5fa9ad8e6f57f50028a8ff"
        )
        async with content.ingest("one", "ref", descriptor(b"test", digest=digest)) as ingest:
            await ingest.write(b"test")
            await ingest.commit()
        assert await content.read("one", Digest(digest), limit=10) == b"test"

    async def test_a_wrong_digest_publishes_nothing_and_keeps_nothing(
        self, content: ContentStore
    ) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA[:-1] + b"!")
            with pytest.raises(errors.DataLossError, match="digest"):
                await ingest.commit()
            with pytest.raises(errors.FailedPreconditionError):
                await ingest.commit()
        assert await content.ingests() == []
        assert [blob async for blob in content.walk("one")] == []
        assert await put(content) == DIGEST

    async def test_too_few_bytes(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA[:-1])
            with pytest.raises(errors.DataLossError, match=f"{len(DATA)} were expected"):
                await ingest.commit()
        assert await content.ingests() == []

    async def test_too_many_bytes_are_refused_at_once(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA)
            with pytest.raises(errors.DataLossError, match=f"{len(DATA)} were expected"):
                await ingest.write(b"x")
            with pytest.raises(errors.FailedPreconditionError):
                await ingest.write(b"x")
        assert await content.ingests() == []

    async def test_an_interrupted_write_is_resumed(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA[:1000])
        (status,) = await content.ingests()
        assert (status.namespace, status.ref, status.offset) == ("one", "ref", 1000)
        assert status.total == len(DATA)
        assert 0 < status.started_at <= status.updated_at
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            assert ingest.offset == 1000
            await ingest.write(DATA[1000:])
            await ingest.commit()
        assert await content.read("one", DIGEST, limit=len(DATA)) == DATA

    async def test_bytes_of_another_expectation_are_not_resumed(
        self, content: ContentStore
    ) -> None:
        async with content.ingest("one", "ref", descriptor(b"other")) as ingest:
            await ingest.write(b"oth")
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            assert ingest.offset == 0
            await ingest.write(DATA)
            await ingest.commit()
        assert await content.read("one", DIGEST, limit=len(DATA)) == DATA

    async def test_truncate_starts_again(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(b"garbage")
            await ingest.truncate()
            assert ingest.offset == 0
            await ingest.write(DATA)
            await ingest.commit()
        assert await content.read("one", DIGEST, limit=len(DATA)) == DATA

    async def test_a_ref_is_open_once(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)):
            with pytest.raises(errors.UnavailableError, match="ref"):
                async with content.ingest("one", "ref", descriptor(DATA)):
                    pass
            with pytest.raises(errors.FailedPreconditionError, match="open"):
                await content.abort("ref")
        await content.abort("ref")

    async def test_abort_drops_the_bytes(self, content: ContentStore) -> None:
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA[:1000])
        await content.abort("ref")
        assert await content.ingests() == []
        with pytest.raises(errors.NotFoundError, match="ref"):
            await content.abort("ref")
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            assert ingest.offset == 0

    async def test_a_cancelled_write_leaves_what_can_be_resumed(
        self, content: ContentStore
    ) -> None:
        big = DATA * 20
        begun = asyncio.Event()

        async def write() -> None:
            async with content.ingest("one", "ref", descriptor(big)) as ingest:
                begun.set()
                await ingest.write(big)
                await asyncio.sleep(3600)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(write())
            await begun.wait()
            task.cancel()
        async with content.ingest("one", "ref", descriptor(big)) as ingest:
            await ingest.write(big[ingest.offset :])
            await ingest.commit()
        assert await content.read("one", sha256(big), limit=len(big)) == big

    async def test_read_has_a_limit(self, content: ContentStore) -> None:
        await put(content)
        with pytest.raises(errors.DataLossError, match="limit"):
            await content.read("one", DIGEST, limit=len(DATA) - 1)

    async def test_a_namespace_sees_only_its_own(self, content: ContentStore) -> None:
        await put(content, namespace="one")
        with pytest.raises(errors.NotFoundError, match="namespace two"):
            await content.info("two", DIGEST)
        with pytest.raises(errors.NotFoundError):
            await content.read("two", DIGEST, limit=len(DATA))
        with pytest.raises(errors.NotFoundError):
            await content.delete("two", DIGEST)
        assert [blob async for blob in content.walk("two")] == []

    async def test_sharing_needs_no_bytes(self, content: ContentStore) -> None:
        assert await content.share("two", DIGEST, {}) is False
        await put(content, namespace="one", origin="one")
        assert await content.share("two", DIGEST, {"origin": "shared"}) is True
        assert (await content.info("two", DIGEST)).labels == {"origin": "shared"}
        assert (await content.info("one", DIGEST)).labels == {"origin": "one"}

    async def test_bytes_live_as_long_as_a_namespace_has_them(self, content: ContentStore) -> None:
        await put(content, namespace="one")
        await content.share("two", DIGEST, {})
        await content.delete("one", DIGEST)
        assert await content.read("two", DIGEST, limit=len(DATA)) == DATA
        await content.delete("two", DIGEST)
        assert not content.path(DIGEST).exists()
        assert await content.share("one", DIGEST, {}) is False
        with pytest.raises(errors.NotFoundError):
            await content.delete("two", DIGEST)

    async def test_a_second_commit_only_adds_labels(self, content: ContentStore) -> None:
        await put(content, first="1", both="1")
        before = await content.info("one", DIGEST)
        await put(content, second="2", both="2")
        after = await content.info("one", DIGEST)
        assert after.labels == {"first": "1", "second": "2", "both": "2"}
        assert after.created_at == before.created_at

    async def test_labels_are_merged_and_removed(self, content: ContentStore) -> None:
        await put(content, a="1", b="2")
        blob = await content.label("one", DIGEST, {"b": "", "c": "3"})
        assert blob.labels == {"a": "1", "c": "3"}
        assert await content.info("one", DIGEST) == blob
        with pytest.raises(errors.NotFoundError):
            await content.label("one", sha256(b"other"), {})
        with pytest.raises(errors.InvalidArgumentError, match="label"):
            await content.label("one", DIGEST, {"a": "x" * 4096})
        assert await content.info("one", DIGEST) == blob

    async def test_walk_goes_in_the_order_of_digests(self, content: ContentStore) -> None:
        digests = [await put(content, bytes([number])) for number in range(10)]
        assert [blob.digest async for blob in content.walk("one")] == sorted(digests)

    async def test_sync_and_sweep_harm_nothing(self, content: ContentStore) -> None:
        await put(content)
        async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
            await ingest.write(DATA[:10])
            await content.sweep()
            await ingest.write(DATA[10:20])
        await content.sweep()
        await content.sync()
        assert await content.read("one", DIGEST, limit=len(DATA)) == DATA
        assert [status.offset for status in await content.ingests()] == [20]
