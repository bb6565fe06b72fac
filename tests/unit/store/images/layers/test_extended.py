import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError
from store.images.layers import extended
from tests.tars import record

keywords = st.binary(min_size=1, max_size=30).filter(lambda key: not set(key) & set(b"=\0"))


@given(st.lists(st.tuples(keywords, st.binary(max_size=300))))
def test_records_are_read_as_they_were_written(records: list[tuple[bytes, bytes]]) -> None:
    named = [(b"k" + key, value) for key, value in records]
    body = b"".join(record(key, value) for key, value in named)
    assert extended.parse(body) == tuple(named)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        records = extended.parse(body)
    except DataLossError:
        return
    assert sum(len(record(key, value)) for key, value in records) <= len(body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"12.", 12 * 10**9),
        (b"1.0000000019", 1_000_000_001),
    ],
)
def test_times(text: bytes, value: int) -> None:
    assert extended.nanoseconds(text) == value


@pytest.mark.parametrize("text", [b"", b"-", b".5", b"1e3", b"1,5", b"1" * 19, b" 1", b"1\n"])
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(DataLossError):
        extended.nanoseconds(text)


def test_of_equal_attributes_the_last_counts() -> None:
    key = extended.ATTRIBUTE + b"user.a"
    assert extended.attributes(((key, b"1"), (b"path", b"x"), (key, b"2"))) == ((b"user.a", b"2"),)
