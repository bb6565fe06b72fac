import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from store.errors import DataLossError, ResourceExhaustedError
from store.images.layers import Data, Entry, Kind, Limits
from store.images.layers.apply import Applier, kept

pytestmark = pytest.mark.root


@pytest.fixture
def applier(tmp_path: Path) -> Applier:
    return Applier(Limits(size=1000), os.fsencode(tmp_path) + b"/")


def data(offset: int, content: bytes) -> Data:
    return Data(offset, memoryview(content))


def test_a_file_with_a_hole(applier: Applier, tmp_path: Path) -> None:
    applier.take(Entry(name=b"f", kind=Kind.FILE, size=12, mtime=5))
    applier.take(data(2, b"ab"))
    applier.take(data(8, b"c"))
    applier.finish()
    assert (tmp_path / "f").read_bytes() == b"\0\0ab\0\0\0\0c\0\0\0"
    assert (tmp_path / "f").stat().st_mtime_ns == 5
    assert applier.size == 4096


def test_owner_mode_and_time_of_everything(applier: Applier, tmp_path: Path) -> None:
    kinds = [Kind.FILE, Kind.DIRECTORY, Kind.FIFO, Kind.CHARACTER, Kind.BLOCK]
    for kind in kinds:
        entry = Entry(name=kind.name.encode(), kind=kind, mode=0o6711, uid=5, gid=6, mtime=-(10**9))
        applier.take(replace(entry, device=(1, 7)))
    applier.take(
        Entry(name=b"link", kind=Kind.SYMLINK, link=b"nowhere", uid=5, gid=6, mtime=-(10**9))
    )
    applier.finish()
    for kind in kinds:
        found = (tmp_path / kind.name).lstat()
        assert (found.st_uid, found.st_gid, found.st_mtime) == (5, 6, -1), kind
        assert stat.S_IMODE(found.st_mode) == 0o6711, kind
    link = (tmp_path / "link").lstat()
    assert (link.st_uid, link.st_gid, link.st_mtime) == (5, 6, -1)


def test_directories_are_dressed_last(applier: Applier, tmp_path: Path) -> None:
    applier.take(Entry(name=b"d/", kind=Kind.DIRECTORY, mode=0o2700, gid=7, mtime=10**9))
    applier.take(Entry(name=b"d/f", kind=Kind.FILE))
    assert (tmp_path / "d/f").stat().st_gid == 0
    applier.finish()
    directory = (tmp_path / "d").stat()
    assert (stat.S_IMODE(directory.st_mode), directory.st_gid) == (0o2700, 7)
    assert directory.st_mtime == 1


def test_the_last_description_of_a_directory_counts(applier: Applier, tmp_path: Path) -> None:
    for mode in (0o700, 0o711):
        applier.take(Entry(name=b"d", kind=Kind.DIRECTORY, mode=mode))
    applier.finish()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o711


def test_a_directory_that_was_replaced_is_not_dressed(applier: Applier, tmp_path: Path) -> None:
    applier.take(Entry(name=b"d", kind=Kind.DIRECTORY, mode=0o700))
    applier.take(Entry(name=b"d", kind=Kind.FILE, mode=0o640))
    applier.finish()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o640


def test_times_beyond_the_clock_are_clamped(applier: Applier, tmp_path: Path) -> None:
    applier.take(Entry(name=b"f", kind=Kind.FILE, mtime=10**30))
    applier.finish()
    assert (tmp_path / "f").stat().st_mtime > 10**9


def test_a_later_entry_takes_the_place_of_a_link_to_come(applier: Applier) -> None:
    applier.take(Entry(name=b"l", kind=Kind.HARD_LINK, link=b"below"))
    assert applier.links == {b"l": b"below"}
    applier.take(Entry(name=b"./l", kind=Kind.FILE))
    applier.finish()
    assert applier.links == {}


@pytest.mark.parametrize(("uid", "gid"), [(-1, 0), (0, -1), (2**32 - 1, 0), (0, 2**40)])
def test_owners_that_there_are_not(applier: Applier, uid: int, gid: int) -> None:
    with pytest.raises(DataLossError, match=f"entry 'f': its owner is {uid}:{gid}"):
        applier.take(Entry(name=b"f", kind=Kind.FILE, uid=uid, gid=gid))


def test_sizes_are_limited_in_sum(applier: Applier) -> None:
    applier.take(Entry(name=b"f", kind=Kind.FILE, size=600))
    with pytest.raises(ResourceExhaustedError, match="entry 'g': its files have more than 1000"):
        applier.take(Entry(name=b"g", kind=Kind.FILE, size=600))


def test_what_the_kernel_says_names_the_entry(applier: Applier) -> None:
    with pytest.raises(DataLossError, match=r"unpack entry 'xxx.*File name too long"):
        applier.take(Entry(name=b"x" * 256, kind=Kind.FILE))


def test_a_capability_that_is_none_is_refused(applier: Applier) -> None:
    attributes = ((b"security.capability", b"?"),)
    applier.take(Entry(name=b"f", kind=Kind.FILE, attributes=attributes))
    with pytest.raises(DataLossError, match="entry 'f': Invalid argument"):
        applier.finish()


@pytest.mark.parametrize(
    ("attribute", "answer"),
    [
        (b"user.x", True),
        (b"security.capability", True),
        (b"system.posix_acl_access", True),
        (b"system.posix_acl_default", True),
        (b"user.overlay.opaque", False),
        (b"trusted.overlay.opaque", False),
        (b"trusted.x", False),
        (b"security.selinux", False),
        (b"security.ima", False),
        (b"system.other", False),
        (b"", False),
    ],
)
def test_the_rule_for_attributes(attribute: bytes, *, answer: bool) -> None:
    assert kept(attribute) is answer
