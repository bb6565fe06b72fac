import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors
from store.content.local import LocalContent
from store.database import Database
from store.digest import sha256
from tests.contracts.content import DATA, DIGEST, descriptor, put
from tests.listing import descriptors, listing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "content"


@pytest.fixture
def content(root: Path, database: Database) -> LocalContent:
    return LocalContent(root, database)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_blobs_lie_where_containerd_puts_them(content: LocalContent, root: Path) -> None:
    await put(content)
    assert files(root) == [f"blobs/sha256/{DIGEST.partition(':')[2]}"]


def test_directories_are_the_owners_alone(content: LocalContent, root: Path) -> None:
    assert content.path(DIGEST).parent == root / "blobs" / "sha256"
    assert {path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))} == {0o700}


async def test_blobs_and_writes_survive_a_restart(
    content: LocalContent, root: Path, database: Database
) -> None:
    await put(content, a="b")
    async with content.ingest("one", "ref", descriptor(b"0123456789")) as ingest:
        await ingest.write(b"01234")
    again = LocalContent(root, database)
    assert (await again.info("one", DIGEST)).labels == {"a": "b"}
    async with again.ingest("one", "ref", descriptor(b"0123456789")) as ingest:
        assert ingest.offset == 5
        await ingest.write(b"56789")
        await ingest.commit()


@pytest.mark.parametrize("left", [0, len(DATA) // 2, len(DATA) - 1, len(DATA) + 1])
async def test_a_blob_of_another_size_than_recorded_is_absent(
    content: LocalContent, left: int
) -> None:
    await put(content)
    os.truncate(content.path(DIGEST), left)
    with pytest.raises(errors.NotFoundError):
        await content.info("one", DIGEST)
    with pytest.raises(errors.NotFoundError):
        await content.read("one", DIGEST, limit=1 << 30)
    assert [blob async for blob in content.walk("one")] == []
    assert await content.share("two", DIGEST, {}) is False
    await put(content)
    assert await content.read("one", DIGEST, limit=1 << 30) == DATA


async def test_flipped_bits_are_found_on_reading(content: LocalContent) -> None:
    await put(content)
    damaged = bytearray(DATA)
    damaged[7] ^= 1
    content.path(DIGEST).write_bytes(damaged)
    with pytest.raises(errors.DataLossError, match=DIGEST):
        await content.read("one", DIGEST, limit=1 << 30)


async def test_refs_of_any_text_stay_inside(content: LocalContent, root: Path) -> None:
    for ref in ("../../x", "/etc/passwd", "a\nb", "x" * 10_000, "\N{SNOWMAN}", ""):
        async with content.ingest("one", ref, descriptor(b"data")) as ingest:
            await ingest.write(b"da")
            assert ingest.path.parent == root / "ingest"
    assert len(await content.ingests()) == 6
    assert len(files(root)) == 6


async def test_sweep_frees_what_no_record_names(content: LocalContent, root: Path) -> None:
    await put(content)
    orphan = root / "blobs" / "sha256" / sha256(b"orphan").partition(":")[2]
    orphan.write_bytes(b"orphan")
    (root / "ingest" / "unknown").write_bytes(b"orphan")
    (root / "trash" / "left").mkdir()
    (root / "trash" / "left" / "file").write_bytes(b"orphan")
    await content.sweep()
    assert files(root) == [f"blobs/sha256/{DIGEST.partition(':')[2]}"]
    assert listing(root / "trash") == []


async def test_deleted_bytes_are_freed_soon(content: LocalContent, root: Path) -> None:
    await put(content)
    await content.delete("one", DIGEST)
    content._directory.trash.wait()
    assert files(root) == []


async def test_a_reader_keeps_what_is_deleted(content: LocalContent) -> None:
    await put(content)
    with content.path(DIGEST).open("rb") as reader:
        await content.delete("one", DIGEST)
        await content.sweep()
        assert reader.read() == DATA


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_a_failed_write_can_go_on_later(
    content: LocalContent, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
        await ingest.write(DATA[:1000])
        write = os.write

        def fail(fd: int, data: memoryview) -> int:
            monkeypatch.setattr(os, "write", fail_now)
            return write(fd, data[: len(data) // 2])

        def fail_now(fd: int, data: memoryview) -> int:
            raise OSError(number, f"cannot write {len(data)} bytes to {fd}")

        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(errors.Error, match="write ref at offset 1000"):
            await ingest.write(DATA[1000:])
        monkeypatch.undo()
        assert ingest.offset == 1000
        await ingest.write(DATA[1000:])
        await ingest.commit()
    assert await content.read("one", DIGEST, limit=1 << 30) == DATA


async def test_a_failed_publication_publishes_nothing(
    content: LocalContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with content.ingest("one", "ref", descriptor(DATA)) as ingest:
        await ingest.write(DATA)

        def fail(source: Path, target: Path) -> Path:
            raise OSError(errno.EIO, f"cannot rename {source} to {target}")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", fail)
            with pytest.raises(errors.Error, match=DIGEST):
                await ingest.commit()
        with pytest.raises(errors.NotFoundError):
            await content.info("one", DIGEST)
        assert [status.offset for status in await content.ingests()] == [len(DATA)]
        await ingest.commit()
    assert (await content.info("one", DIGEST)).size == len(DATA)


async def test_no_descriptor_is_left_open(content: LocalContent) -> None:
    await put(content, b"warm up")
    before = descriptors()
    await put(content)
    with pytest.raises(ValueError, match="stop"):
        async with content.ingest("one", "ref", descriptor(DATA)):
            raise ValueError("stop")
    assert descriptors() <= before
