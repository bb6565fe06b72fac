"""What layers become, compared with what GNU tar makes of the same bytes."""

import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from store.digest import sha256
from tests.growing import grow
from tests.tars import archive, block, end, info, padded, pax
from tests.trees import Node, described
from tests.unpacking import PLAIN, Bench, zipped

pytestmark = pytest.mark.root


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "options",
    [
        ["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"],
        ["--format=posix", "--xattrs", "--sparse", "--sparse-version=0.0"],
        ["--format=posix", "--xattrs", "--sparse", "--sparse-version=0.1"],
        ["--format=gnu", "--sparse"],
    ],
    ids=["posix-sparse-1.0", "posix-sparse-0.0", "posix-sparse-0.1", "gnu-sparse"],
)
async def test_a_tree_that_gnu_tar_packs_comes_out_the_same(
    bench: Bench, tmp_path: Path, seed: int, options: list[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    grow(source, seed)
    packed = gnu_tar(source, options)
    posix = "--format=posix" in options
    layer = await bench.layer(packed)
    assert comparable(layer, exact=posix) == comparable(source, exact=posix)


def gnu_tar(source: Path, options: list[str]) -> bytes:
    command = ["tar", "-c", *options, "--numeric-owner", "-C", str(source), "."]
    return subprocess.run(command, check=True, capture_output=True).stdout


def comparable(root: Path, *, exact: bool) -> dict[bytes, Node]:
    """GNU headers have neither nanoseconds nor extended attributes."""
    found = described(root, attributes=exact)
    if exact:
        return found
    return {name: node._replace(mtime=node.mtime // 10**9 * 10**9) for name, node in found.items()}


class TestWhiteouts:
    @pytest.mark.parametrize("written", [block(b"a/.wh.gone"), block(b"a/gone", flag=b"3")])
    async def test_a_whiteout_is_a_device_0_0(self, bench: Bench, written: bytes) -> None:
        lower = await bench.layer(archive([(info("a/gone"), b"")]))
        layer = await bench.layer(written + end(), lower)
        found = (layer / "a/gone").lstat()
        assert (stat.S_ISCHR(found.st_mode), found.st_rdev) == (True, 0)

    async def test_an_opaque_directory_is_marked(self, bench: Bench) -> None:
        layer = await bench.layer(
            archive([(info("a", tarfile.DIRTYPE), b""), (info("a/.wh..wh..opq"), b"")])
        )
        assert os.getxattr(layer / "a", "trusted.overlay.opaque") == b"y"
        assert list((layer / "a").iterdir()) == []

    async def test_an_opaque_root_hides_each_name(self, bench: Bench) -> None:
        lower = await bench.layer(archive([(info("old"), b""), (info("both"), b"")]))
        upper = await bench.layer(
            archive([(info("both"), b"new"), (info(".wh..wh..opq"), b"")]), lower
        )
        assert (upper / "old").lstat().st_rdev == 0
        assert stat.S_ISCHR((upper / "old").lstat().st_mode)
        assert (upper / "both").read_bytes() == b"new"

    @pytest.mark.parametrize("order", [1, -1])
    async def test_what_the_same_layer_brings_stays(self, bench: Bench, order: int) -> None:
        members = [(info("d/new"), b"new"), (info("d/.wh.new"), b""), (info(".wh.d"), b"")]
        layer = await bench.layer(archive(members[::order]))
        assert (layer / "d/new").read_bytes() == b"new"
        assert os.getxattr(layer / "d", "trusted.overlay.opaque") == b"y"

    async def test_what_aufs_kept_for_itself_is_passed_over(self, bench: Bench) -> None:
        layer = await bench.layer(archive([(info(".wh..wh.plnk/1.2"), b"x"), (info("a"), b"")]))
        assert [path.name for path in layer.iterdir()] == ["a"]


class TestReplacing:
    async def test_the_last_entry_of_a_name_counts(self, bench: Bench) -> None:
        members = [
            (info("a", tarfile.DIRTYPE), b""),
            (info("a/b/c"), b""),
            (info("a", tarfile.SYMTYPE, linkname="z"), b""),
            (info("b"), b"file"),
            (info("b", tarfile.DIRTYPE, mode=0o711), b""),
        ]
        layer = await bench.layer(archive(members))
        assert (layer / "a").readlink() == Path("z")
        assert stat.S_IMODE((layer / "b").stat().st_mode) == 0o711
        assert os.getxattr(layer / "b", "trusted.overlay.opaque") == b"y"

    async def test_links_of_the_layer_are_followed_inside(self, bench: Bench) -> None:
        members = [
            (info("lib", tarfile.SYMTYPE, linkname="/usr/lib"), b""),
            (info("usr/lib", tarfile.DIRTYPE, mode=0o755), b""),
            (info("lib/x"), b"x"),
        ]
        layer = await bench.layer(archive(members))
        assert (layer / "usr/lib/x").read_bytes() == b"x"


class TestParents:
    async def test_an_implied_directory_is_like_the_one_below(self, bench: Bench) -> None:
        lower = await bench.layer(
            archive(
                [
                    (info("etc", tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8, mtime=99), b""),
                    (info("./", tarfile.DIRTYPE, mode=0o711, mtime=55), b""),
                ]
            )
        )
        upper = await bench.layer(archive([(info("etc/x/y"), b"")]), lower)
        etc = (upper / "etc").stat()
        assert (stat.S_IMODE(etc.st_mode), etc.st_uid, etc.st_gid) == (0o2750, 7, 8)
        assert (etc.st_mtime, upper.stat().st_mtime) == (99, 55)
        new = (upper / "etc/x").stat()
        assert (stat.S_IMODE(new.st_mode), new.st_gid) == (0o755, 0)

    async def test_not_like_one_that_is_hidden(self, bench: Bench) -> None:
        base = await bench.layer(archive([(info("a/b", tarfile.DIRTYPE, mode=0o700), b"")]))
        middle = await bench.layer(archive([(info(".wh.a"), b"")]), base)
        upper = await bench.layer(archive([(info("a/b/c"), b"")]), middle, base)
        assert stat.S_IMODE((upper / "a/b").stat().st_mode) == 0o755


class TestHardLinks:
    async def test_a_link_to_a_file_below_copies_it_up(self, bench: Bench) -> None:
        lower = await bench.layer(
            archive(
                [
                    (info("bin", tarfile.DIRTYPE, mode=0o711, mtime=5), b""),
                    (info("bin/tool", mode=0o4755, uid=3, mtime=77), b"#!"),
                ]
            )
        )
        upper = await bench.layer(
            archive([(info("usr/alias", tarfile.LNKTYPE, linkname="bin/tool"), b"")]), lower
        )
        alias, tool = (upper / "usr/alias").stat(), (upper / "bin/tool").stat()
        assert alias.st_ino == tool.st_ino
        assert (stat.S_IMODE(alias.st_mode), alias.st_uid, alias.st_mtime) == (0o4755, 3, 77)
        assert (upper / "usr/alias").read_bytes() == b"#!"
        directory = (upper / "bin").stat()
        assert (stat.S_IMODE(directory.st_mode), directory.st_mtime) == (0o711, 5)

    async def test_the_times_of_its_directory_stay(self, bench: Bench) -> None:
        lower = await bench.layer(archive([(info("f"), b"")]))
        members = [
            (info("d", tarfile.DIRTYPE, mode=0o755, mtime=9), b""),
            (info("d/l", tarfile.LNKTYPE, linkname="/f"), b""),
        ]
        upper = await bench.layer(archive(members), lower)
        assert (upper / "d").stat().st_mtime == 9
        assert (upper / "d/l").stat().st_nlink == 2

    async def test_a_target_later_in_the_layer_is_found(self, bench: Bench) -> None:
        members = [(info("l", tarfile.LNKTYPE, linkname="f"), b""), (info("f"), b"x")]
        layer = await bench.layer(archive(members))
        assert (layer / "l").stat().st_ino == (layer / "f").stat().st_ino


class TestAttributes:
    async def test_the_rule_for_extended_attributes(self, bench: Bench) -> None:
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        records = {
            b"SCHILY.xattr.security.capability": capability,
            b"SCHILY.xattr.user.note": b"kept",
            b"SCHILY.xattr.user.overlay.opaque": b"y",
            b"SCHILY.xattr.trusted.overlay.opaque": b"y",
            b"SCHILY.xattr.trusted.overlay.redirect": b"/etc",
            b"SCHILY.xattr.security.selinux": b"system_u:object_r:shadow_t:s0",
        }
        layer = await bench.layer(
            pax(records)
            + block(b"file", uid=b"0000007\0", mode=b"0004755\0")
            + pax(records)
            + block(b"directory", flag=b"5")
            + end()
        )
        file = described(layer)[b"file"]
        assert file.attributes == {"security.capability": capability, "user.note": b"kept"}
        assert (file.mode, file.uid) == (0o4755, 7)
        assert described(layer)[b"directory"].attributes == file.attributes

    async def test_names_are_bytes(self, bench: Bench) -> None:
        layer = await bench.layer(block(b"caf\xe9") + end())
        assert list(described(layer)) == [b"", b"caf\xe9"]

    async def test_a_leading_slash_means_nothing(self, bench: Bench) -> None:
        layer = await bench.layer(block(b"/a/./b//c") + end())
        assert (layer / "a/b/c").is_file()


class TestResult:
    @pytest.mark.parametrize("ending", ["", "+gzip", "+zstd"])
    async def test_the_digest_is_that_of_the_whole_tar(self, bench: Bench, ending: str) -> None:
        tar = archive([(info("a"), b"x" * 100_000)]) + bytes(5000)
        data = {
            "": tar,
            "+gzip": zipped(tar[:999]) + zipped(tar[999:]),
            "+zstd": zstandard.compress(tar[:999]) + zstandard.compress(tar[999:]),
        }[ending]
        result = await bench.unpack(data, media_type=PLAIN + ending)
        assert result.diff_id == sha256(tar)

    async def test_size_and_inodes(self, bench: Bench) -> None:
        members = [(info("d", tarfile.DIRTYPE), b""), (info("d/f"), b"x" * 5000)]
        members.append((info("d/l", tarfile.LNKTYPE, linkname="d/f"), b""))
        result = await bench.unpack(archive(members))
        assert (result.size, result.inodes) == (3 * 4096, 2)

    async def test_progress_is_in_bytes_of_the_blob(self, bench: Bench) -> None:
        data = archive([(info("a"), bytes(5 << 20))])
        await bench.unpack(data)
        assert len(bench.reports) >= 4
        assert bench.reports == sorted(bench.reports)
        assert bench.reports[-1] <= len(data)

    async def test_data_of_a_whiteout_is_passed_over(self, bench: Bench) -> None:
        layer = await bench.layer(block(b".wh.x", size=3) + padded(b"abc") + block(b"y") + end())
        assert [path.name for path in layer.iterdir()] == ["y"]
