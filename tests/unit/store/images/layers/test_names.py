import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError
from store.images.layers.names import Meaning, Target, clean, target


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"./a//b/./", b"a/b"),
        (b"/a", b"a"),
        (b"./", b""),
        (b"/", b""),
        (b"", b""),
        (b"...", b"..."),
        (b"..a/b..", b"..a/b.."),
    ],
)
def test_a_name_is_a_path_below_the_root(name: bytes, path: bytes) -> None:
    assert clean(name, 100) == path


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/..", b"a/../b", b"/..", b"a\0", b"x" * 101])
def test_what_is_no_such_path_is_refused(name: bytes) -> None:
    with pytest.raises(DataLossError):
        clean(name, 100)


@given(st.lists(st.sampled_from([b".", b"..", b"", b"a", b".wh.", b".wh.a", b".wh...", b"b"])))
def test_no_name_leads_out(parts: list[bytes]) -> None:
    try:
        path = target(b"/".join(parts), 4096).path
    except DataLossError:
        return
    assert not path.startswith(b"/")
    assert set(path.split(b"/")).isdisjoint({b".", b".."})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (b"a/.wh.b", Target(b"a/b", Meaning.HIDE)),
        (b".wh.b", Target(b"b", Meaning.HIDE)),
        (b"a/.wh..wh..opq", Target(b"a", Meaning.HIDE_ALL_IN)),
        (b".wh..wh..opq", Target(b"", Meaning.HIDE_ALL_IN)),
        (b".wh..wh.aufs", Target(b".wh..wh.aufs", Meaning.NOTHING)),
        (b".wh..wh.plnk/7", Target(b".wh..wh.plnk/7", Meaning.NOTHING)),
        (b"a.wh.b", Target(b"a.wh.b", Meaning.MAKE)),
        (b"a.wh./b", Target(b"a.wh./b", Meaning.MAKE)),
    ],
)
def test_whiteouts(name: bytes, wanted: Target) -> None:
    assert target(name, 100) == wanted


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b".wh.a/b", b".wh.../.wh..wh..opq"])
def test_whiteouts_that_make_no_sense_are_refused(name: bytes) -> None:
    with pytest.raises(DataLossError, match="a whiteout"):
        target(name, 100)
