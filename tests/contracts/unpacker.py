"""What every unpacker does; a subclass supplies the `unpacker` fixture."""

import asyncio
import gzip
import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import DataLossError, InvalidArgumentError, UnavailableError
from store.images import Unfinished, Unpacked, Unpacker
from tests.listing import listing
from tests.tars import archive, info

PLAIN = "application/vnd.oci.image.layer.v1.tar"
LAYER = archive(
    [
        (info("d", tarfile.DIRTYPE, mode=0o750, mtime=9), b""),
        (info("d/file", mode=0o640, mtime=7), b"content" * 1000),
        (info("link", tarfile.SYMTYPE, linkname="d/file"), b""),
    ]
)


class Download:
    """A blob that comes in steps; `sizes` are what is valid after each."""

    def __init__(self, blob: Path, data: bytes, sizes: Iterator[int]) -> None:
        self._blob = blob
        self._data = data
        self._sizes = sizes
        self._valid = 0

    async def follow(self) -> tuple[int, bool]:
        await asyncio.sleep(0)
        self._valid = next(self._sizes, len(self._data))
        self._blob.write_bytes(self._data[: self._valid])
        return self._valid, self._valid == len(self._data)


class UnpackerContract:
    """The suite."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        (tmp_path / "target").mkdir()
        return tmp_path / "target"

    async def unpack(
        self,
        unpacker: Unpacker,
        target: Path,
        data: bytes = LAYER,
        media_type: str = PLAIN,
        sizes: tuple[int, ...] = (),
    ) -> Unpacked:
        blob = target.with_name("blob")
        blob.touch()
        self.reports: list[int] = []
        return await unpacker.unpack(
            blob=blob,
            follow=Download(blob, data, iter(sizes)).follow,
            media_type=media_type,
            target=target,
            report=self.reports.append,
        )

    @pytest.mark.parametrize("ending", ["", "+gzip"])
    async def test_a_layer_becomes_a_directory(
        self, unpacker: Unpacker, target: Path, ending: str
    ) -> None:
        data = gzip.compress(LAYER) if ending else LAYER
        unpacked = await self.unpack(unpacker, target, data, PLAIN + ending)
        assert unpacked.diff_id == "sha256:" + hashlib.sha256(LAYER).hexdigest()
        assert listing(target) == ["d", "link"]
        assert (target / "link").read_bytes() == b"content" * 1000
        file, directory = (target / "d/file").stat(), (target / "d").stat()
        assert (file.st_mode & 0o7777, file.st_mtime) == (0o640, 7)
        assert (directory.st_mode & 0o7777, directory.st_mtime) == (0o750, 9)

    async def test_it_follows_a_blob_that_grows(self, unpacker: Unpacker, target: Path) -> None:
        await self.unpack(unpacker, target, sizes=(1, 513, 5000))
        assert (target / "d/file").stat().st_size == 7000

    async def test_what_is_reported_only_grows(self, unpacker: Unpacker, target: Path) -> None:
        await self.unpack(unpacker, target, sizes=(100,))
        assert self.reports == sorted(self.reports)
        assert all(size <= len(LAYER) for size in self.reports)

    async def test_a_blob_that_is_no_archive_is_refused(
        self, unpacker: Unpacker, target: Path
    ) -> None:
        with pytest.raises(DataLossError):
            await self.unpack(unpacker, target, b"<html>" * 1000, PLAIN + "+gzip")

    async def test_another_media_type_is_refused(self, unpacker: Unpacker, target: Path) -> None:
        with pytest.raises(InvalidArgumentError, match="text/html"):
            await self.unpack(unpacker, target, media_type="text/html")

    async def test_what_ends_the_download_is_raised(self, unpacker: Unpacker, target: Path) -> None:
        async def follow() -> tuple[int, bool]:
            raise UnavailableError("the registry went away")

        target.with_name("blob").touch()
        with pytest.raises(UnavailableError, match="the registry went away"):
            await unpacker.unpack(
                blob=target.with_name("blob"),
                follow=follow,
                media_type=PLAIN,
                target=target,
                report=lambda _: None,
            )

    async def test_several_layers_at_once(self, unpacker: Unpacker, tmp_path: Path) -> None:
        targets = [tmp_path / str(number) / "target" for number in range(3)]
        async with asyncio.TaskGroup() as group:
            for target in targets:
                target.mkdir(parents=True)
                group.create_task(self.unpack(unpacker, target))
        assert [(target / "d/file").stat().st_size for target in targets] == [7000] * 3

    async def test_completing_what_is_finished_changes_nothing(
        self, unpacker: Unpacker, target: Path
    ) -> None:
        await unpacker.complete(Unfinished(), target=target, lowers=())
        assert listing(target) == []
