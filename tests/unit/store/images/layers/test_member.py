import pytest

from store.errors import DataLossError
from store.images.layers import Kind, header
from store.images.layers.member import Member, Preface, member
from store.images.layers.sparse import DecimalMap, OldMap, RecordsMap
from tests.tars import block


def of(raw: bytes, *records: tuple[bytes, bytes]) -> Member:
    return member(header.parse(raw), Preface(records=records), raw)


def test_a_file_stores_what_it_is() -> None:
    found = of(block(size=7))
    assert (found.entry.size, found.stored, found.map) == (7, 7, None)


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        (b"1", Kind.HARD_LINK),
        (b"2", Kind.SYMLINK),
        (b"3", Kind.CHARACTER),
        (b"4", Kind.BLOCK),
        (b"5", Kind.DIRECTORY),
        (b"6", Kind.FIFO),
    ],
)
def test_others_store_nothing(flag: bytes, kind: Kind) -> None:
    found = of(block(flag=flag, size=7))
    assert (found.entry.kind, found.entry.size, found.stored) == (kind, 0, 0)


def test_only_devices_have_numbers() -> None:
    assert of(block(flag=b"0", major=b"broken!!")).entry.device == (0, 0)
    with pytest.raises(DataLossError):
        of(block(flag=b"3", major=b"broken!!"))


def test_each_sparse_form_has_its_map() -> None:
    version = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")
    assert isinstance(of(block(flag=b"S")).map, OldMap)
    assert isinstance(of(block(), *version).map, DecimalMap)
    assert isinstance(of(block(), (b"GNU.sparse.map", b"")).map, RecordsMap)
    assert of(block(), (b"mtime", b"1")).map is None


def test_a_sparse_name_wins() -> None:
    records = (b"path", b"GNUSparseFile.1/x"), (b"GNU.sparse.name", b"x")
    assert of(block(), *records).entry.name == b"x"
