"""Hostile layers (the list of hostile inputs, part A, lines 1 to 7).

Each is unpacked for real beside a canary; whatever the layer says, the canary stays as it is, an
error names the entry, the worker lives on, and memory stays flat.
"""

import os
import stat
import struct
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import zstandard

from store.errors import DataLossError, Error, ResourceExhaustedError
from store.images.layers import Limits
from store.images.unpack import WorkerUnpacker
from store.trees import remove_tree
from tests.tars import archive, block, end, info, padded, pax
from tests.trees import Node, described
from tests.unpacking import PLAIN, Bench, nothing_left, zipped

pytestmark = pytest.mark.root


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory that must not change, in the parent of every layer."""
    directory = tmp_path / "canary"
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/file").write_text("untouched")
    (directory / "etc/file").chmod(0o640)
    os.utime(directory / "etc/file", (1, 1))
    before: dict[bytes, Node] = described(directory)
    yield directory
    assert described(directory) == before


@pytest.fixture
async def bench(tmp_path: Path, canary: Path) -> AsyncIterator[Bench]:  # noqa: ARG001 - checked after
    limits = Limits(size=1 << 30, grace=1 << 24, entries=10_000, seconds=60)
    with nothing_left():
        async with WorkerUnpacker(limits=limits) as unpacker:
            yield Bench(unpacker, tmp_path)


async def refusal(bench: Bench, data: bytes, media_type: str = PLAIN) -> Error:
    """Unpack what must be refused, and see that the worker takes the next layer."""
    target = bench.fresh()
    with pytest.raises(Error) as caught:  # noqa: PT012 - either of the two passes may refuse
        unpacked = await bench.unpack(data, target=target, media_type=media_type)
        await bench.unpacker.complete(unpacked.unfinished, target=target, lowers=())
    await bench.layer(archive([(info("fine"), b"")]))
    return caught.value


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["../canary/etc/file", "a/../../canary/etc/file", "a/..", "..", "/../canary/etc/file"],
    )
    @pytest.mark.parametrize("kind", [b"0", b"5", b"2", b"6"])
    async def test_names_that_climb_are_refused(self, bench: Bench, name: str, kind: bytes) -> None:
        error = await refusal(bench, block(name.encode(), flag=kind, link=b"x") + end())
        assert isinstance(error, DataLossError)
        assert f"entry '{name}': a '..' in its name" in str(error)

    async def test_an_absolute_name_is_below_the_layer(self, bench: Bench, canary: Path) -> None:
        name = str(canary / "etc/file")
        layer = await bench.layer(archive([(info(name), b"evil")], tarfile.GNU_FORMAT))
        assert (layer / name.lstrip("/")).read_text() == "evil"

    async def test_a_nul_is_refused(self, bench: Bench) -> None:
        error = await refusal(bench, pax({b"path": b"a\0b"}) + block(b"name") + end())
        assert "entry 'name'" in str(error) or "NUL" in str(error)

    async def test_a_name_of_5000_bytes_is_refused(self, bench: Bench) -> None:
        error = await refusal(bench, archive([(info("d/" * 2500), b"")]))
        assert "its name has 5000 bytes, more than 4096" in str(error)

    async def test_a_component_of_300_bytes_is_refused(self, bench: Bench) -> None:
        error = await refusal(bench, archive([(info("x" * 300), b"")]))
        assert isinstance(error, DataLossError)
        assert "File name too long" in str(error)

    async def test_a_deep_tree_is_unpacked(self, bench: Bench) -> None:
        layer = await bench.layer(archive([(info("d/" * 1500 + "f"), b"")], tarfile.GNU_FORMAT))
        assert (layer / ("d/" * 1500 + "f")).is_file()
        # What pytest removes old directories with cannot go as deep.
        remove_tree(layer)


class TestLinks:
    @pytest.mark.parametrize("text", ["/", "../", "../../../../..", "/proc/self/root"])
    async def test_a_symlink_leads_nowhere_else(
        self, bench: Bench, canary: Path, text: str
    ) -> None:
        inner = str(canary / "etc/file").lstrip("/")
        data = archive(
            [
                (info("d", tarfile.SYMTYPE, linkname=text), b""),
                (info(f"d/{inner}"), b"evil"),
                (info("d/canary/etc/file"), b"evil"),
            ],
            tarfile.GNU_FORMAT,
        )
        try:
            await bench.layer(data)
        except DataLossError as error:
            assert "entry 'd/" in str(error)  # noqa: PT017 - both outcomes are safe

    async def test_a_symlink_of_a_lower_layer_is_not_followed(
        self, bench: Bench, canary: Path
    ) -> None:
        lower = await bench.layer(
            archive([(info("d", tarfile.SYMTYPE, linkname=str(canary)), b"")])
        )
        upper = await bench.layer(
            archive([(info("d/etc/file"), b"evil"), (info("d/.wh..wh..opq"), b"")]), lower
        )
        assert (upper / "d/etc/file").read_text() == "evil"
        assert not (upper / "d").is_symlink()

    @pytest.mark.parametrize("target", ["../../canary/etc/file", "../canary/etc/file"])
    async def test_a_hard_link_that_climbs_is_refused(self, bench: Bench, target: str) -> None:
        error = await refusal(bench, block(flag=b"1", link=target.encode()) + end())
        assert "entry 'file': a '..' in its name" in str(error)

    async def test_a_hard_link_to_an_absolute_path_stays_in_the_image(
        self, bench: Bench, canary: Path
    ) -> None:
        data = archive([(info("l", tarfile.LNKTYPE, linkname=str(canary / "etc/file")), b"")])
        error = await refusal(bench, data)
        assert isinstance(error, DataLossError)
        assert "entry 'l': a hard link to" in str(error)

    @pytest.mark.parametrize("lower_has_it", [False, True])
    async def test_a_hard_link_to_a_symlink_is_refused(
        self, bench: Bench, canary: Path, *, lower_has_it: bool
    ) -> None:
        symlink = (info("s", tarfile.SYMTYPE, linkname=str(canary / "etc/file")), b"")
        link = (info("l", tarfile.LNKTYPE, linkname="s"), b"")
        if not lower_has_it:
            error = await refusal(bench, archive([symlink, link]))
        else:
            lower = await bench.layer(archive([symlink]))
            with pytest.raises(DataLossError) as caught:
                await bench.layer(archive([link]), lower)
            error = caught.value
        assert "entry 'l': a hard link to 's', which is no file" in str(error)

    async def test_a_hard_link_below_a_symlink_of_a_lower_layer_is_refused(
        self, bench: Bench, canary: Path
    ) -> None:
        lower = await bench.layer(
            archive([(info("d", tarfile.SYMTYPE, linkname=str(canary)), b"")])
        )
        link = (info("l", tarfile.LNKTYPE, linkname="d/etc/file"), b"")
        with pytest.raises(DataLossError, match="no file of the image"):
            await bench.layer(archive([link]), lower)

    async def test_a_file_through_a_hard_linked_name_stays_inside(self, bench: Bench) -> None:
        members = [
            (info("f"), b"one"),
            (info("l", tarfile.LNKTYPE, linkname="f"), b""),
            (info("l"), b"two"),
        ]
        layer = await bench.layer(archive(members))
        assert ((layer / "f").read_text(), (layer / "l").read_text()) == ("one", "two")


class TestWhiteouts:
    @pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "a/.wh...", "a/.wh."])
    async def test_a_whiteout_of_nothing_is_refused(self, bench: Bench, name: str) -> None:
        error = await refusal(bench, block(name.encode()) + end())
        assert f"entry '{name}': a whiteout of nothing" in str(error)

    @pytest.mark.parametrize("name", [".wh.../x", ".wh.a/b", "c/.wh.../.wh..wh..opq"])
    async def test_a_whiteout_is_no_directory(self, bench: Bench, name: str) -> None:
        error = await refusal(bench, block(name.encode()) + end())
        assert f"entry '{name}': a whiteout is used as a directory" in str(error)

    async def test_an_opaque_mark_on_a_symlink_is_refused(self, bench: Bench) -> None:
        members = [
            (info("d", tarfile.DIRTYPE), b""),
            (info("s", tarfile.SYMTYPE, linkname="d"), b""),
            (info("s/.wh..wh..opq"), b""),
        ]
        assert "'s' is no directory" in str(await refusal(bench, archive(members)))

    @pytest.mark.parametrize("name", ["redirect", "metacopy", "origin", "opaque", "whiteout"])
    async def test_overlay_attributes_are_dropped(self, bench: Bench, name: str) -> None:
        records = {f"SCHILY.xattr.{space}.overlay.{name}".encode(): b"/etc" for space in SPACES}
        layer = await bench.layer(pax(records) + block(b"d", flag=b"5") + end())
        assert described(layer)[b"d"].attributes == {}


SPACES = ("trusted", "user")


class TestDevices:
    @pytest.mark.parametrize("flag", [b"3", b"4"])
    @pytest.mark.parametrize(
        "number",
        [b"\x80\0\0\0\x01\0\0\0", b"\x80\0\0\0\0\x10\0\0", b"\xff" * 8],
        ids=["2^24", "2^20", "-1"],
    )
    async def test_numbers_out_of_range_are_refused(
        self, bench: Bench, flag: bytes, number: bytes
    ) -> None:
        error = await refusal(bench, block(b"dev", flag=flag, minor=number) + end())
        assert "entry 'dev': there is no device 0:" in str(error)

    async def test_a_file_does_not_open_the_device_before_it(self, bench: Bench) -> None:
        data = (
            block(b"x", flag=b"3", major=b"0000001\0", minor=b"0000005\0")
            + block(b"x", size=2)
            + padded(b"hi")
            + block(b"p", flag=b"6")
            + block(b"p", size=2)
            + padded(b"ho")
            + end()
        )
        layer = await bench.layer(data)
        assert (layer / "x").read_text() + (layer / "p").read_text() == "hiho"
        assert stat.S_ISREG((layer / "x").lstat().st_mode)


class TestBombs:
    async def test_a_gzip_bomb_stops_at_the_limit(self, bench: Bench) -> None:
        million = zipped(bytes(1 << 20))
        data = zipped(block(size=b"\x80" + (1 << 40).to_bytes(11, "big"))) + million * 2000
        error = await refusal(bench, data, PLAIN + "+gzip")
        assert "more than 1073741824 bytes" in str(error)

    async def test_a_zstandard_bomb_stops_by_its_ratio(self, bench: Bench) -> None:
        head = block(size=1 << 29)
        frame = zstandard.ZstdCompressor(level=19).compress(head + bytes(1 << 29))
        assert len(frame) < 1 << 17
        error = await refusal(bench, frame, PLAIN + "+zstd")
        assert isinstance(error, DataLossError)
        assert "more than 1100 times as many" in str(error)

    async def test_a_zstandard_window_of_2_gb_is_refused(self, bench: Bench) -> None:
        # RFC 8878, 3.1.1.1: a window descriptor of exponent 21 is 2^31 bytes.
        frame = struct.pack("<IBB", 0xFD2FB528, 0, 21 << 3) + b"\x01\x00\x00"
        error = await refusal(bench, frame, PLAIN + "+zstd")
        assert isinstance(error, DataLossError)

    async def test_a_sparse_file_counts_with_its_holes(self, bench: Bench) -> None:
        records = {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.realsize": str(1 << 50).encode(),
        }
        content = padded(b"1\n0\n0\n")
        data = pax(records) + block(size=len(content)) + content + end()
        error = await refusal(bench, data)
        assert isinstance(error, ResourceExhaustedError)
        assert "entry 'file': its files have more than 1073741824 bytes" in str(error)

    async def test_a_pax_header_of_1_gb_is_refused(self, bench: Bench) -> None:
        error = await refusal(bench, block(b"bomb", flag=b"x", size=1 << 30) + bytes(1 << 16))
        assert isinstance(error, ResourceExhaustedError)
        assert "entry 'bomb': its header takes 1073741824 bytes" in str(error)

    async def test_too_many_entries_are_refused(self, bench: Bench) -> None:
        data = b"".join(block(b"%d" % number) for number in range(10_001))
        error = await refusal(bench, data)
        assert "entry '10000': more than 10000 entries" in str(error)

    async def test_memory_is_bounded(self, tmp_path: Path) -> None:
        async with WorkerUnpacker(limits=Limits(memory=200 << 20)) as unpacker:
            bench = Bench(unpacker, tmp_path)
            size = 1 << 27
            # One frame that wants the largest window there may be.
            parameters = zstandard.ZstdCompressionParameters(window_log=27)
            frame = zstandard.ZstdCompressor(compression_params=parameters).compress(
                block(size=size) + os.urandom(1 << 20) * (size >> 20) + end()
            )
            error = await refusal(bench, frame, PLAIN + "+zstd")
        assert "memory" in str(error)

    async def test_a_full_disk_is_refused_and_named(self, tmp_path: Path) -> None:
        async with WorkerUnpacker(limits=Limits(reserve=1 << 60)) as unpacker:
            bench = Bench(unpacker, tmp_path)
            with pytest.raises(ResourceExhaustedError, match="are free on the file system"):
                await bench.unpack(archive([(info("big"), bytes(65 << 20))]))


class TestDamage:
    @pytest.mark.parametrize("ending", ["+gzip", "+zstd"])
    async def test_a_blob_that_is_something_else_is_refused(
        self, bench: Bench, ending: str
    ) -> None:
        error = await refusal(bench, archive([(info("a"), b"")]), PLAIN + ending)
        assert isinstance(error, DataLossError)
        assert "cannot inflate the layer" in str(error)

    @pytest.mark.parametrize("ending", ["+gzip", "+zstd"])
    @pytest.mark.parametrize("change", ["cut", "garbage", "flip"])
    async def test_a_damaged_stream_is_refused(
        self, bench: Bench, ending: str, change: str
    ) -> None:
        tar = archive([(info("a"), os.urandom(100_000))])
        checked = zstandard.ZstdCompressor(write_checksum=True)
        whole = zipped(tar) if ending == "+gzip" else checked.compress(tar)
        data = {
            "cut": whole[:-1],
            "garbage": whole + b"garbage after the end",
            "flip": whole[:50_000] + bytes([whole[50_000] ^ 1]) + whole[50_001:],
        }[change]
        assert isinstance(await refusal(bench, data, PLAIN + ending), DataLossError)
