import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError
from store.images.layers.sparse import DecimalMap, RecordsMap, Scatter
from tests.tars import cut, padded

holes = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8)


@given(gaps=holes, pieces=st.lists(st.integers(0, 40), max_size=10))
def test_stored_bytes_land_where_the_map_says(
    gaps: list[tuple[int, int]], pieces: list[int]
) -> None:
    segments: list[tuple[int, int]] = []
    wanted = bytearray()
    stored = b""
    for number, (gap, length) in enumerate(gaps):
        segments.append((len(wanted) + gap, length))
        content = bytes([number + 1]) * length
        wanted += bytes(gap) + content
        stored += content
    scatter = Scatter(segments, len(wanted), len(stored))
    found = bytearray(len(wanted))
    for piece in cut(stored, pieces):
        for offset, view in scatter.place(memoryview(piece)):
            found[offset : offset + len(view)] = view
    assert found == wanted


@pytest.mark.parametrize(
    ("segments", "size", "stored"),
    [
        ([(0, 5)], 4, 5),
        ([(4, 2), (5, 1)], 9, 3),
        ([(3, 1), (0, 1)], 9, 2),
        ([(-1, 2)], 9, 2),
        ([(0, -2), (1, 4)], 9, 2),
        ([(0, 2)], 9, 3),
        ([], 9, 1),
    ],
)
def test_a_map_that_lies_is_refused(
    segments: list[tuple[int, int]], size: int, stored: int
) -> None:
    with pytest.raises(DataLossError, match="sparse map"):
        Scatter(segments, size, stored)


def test_half_a_segment_is_refused() -> None:
    with pytest.raises(DataLossError, match="half a segment"):
        RecordsMap(((b"GNU.sparse.map", b"1,2,3"),))


def test_a_complete_map_takes_no_more() -> None:
    with pytest.raises(DataLossError, match="after a complete sparse map"):
        RecordsMap(()).add(b"x")


def test_a_decimal_map_says_when_it_is_complete() -> None:
    text = padded(b"100\n" + b"".join(b"%d\n1\n" % (2 * number) for number in range(100)))
    found = DecimalMap()
    states = [found.complete]
    for at in range(0, len(text), 512):
        found.add(text[at : at + 512])
        states.append(found.complete)
    assert states == [False] * (len(states) - 1) + [True]
    assert found.taken == len(text)
    assert found.segments == [(2 * number, 1) for number in range(100)]
