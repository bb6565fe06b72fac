import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError
from store.images.layers import header
from tests.tars import block


@given(st.integers(0, 0o7777777))
def test_octal_numbers(value: int) -> None:
    assert header.number(b"%07o\0" % value) == value
    assert header.number(b"%7o " % value) == value
    assert header.number(b"%o" % value) == value


@given(st.integers(-(2**62), 2**62))
def test_binary_numbers(value: int) -> None:
    field = bytearray(value.to_bytes(12, "big", signed=True))
    if value >= 0:
        field[0] |= 0x80
    assert header.number(bytes(field)) == value


@pytest.mark.parametrize("field", [b"", b"\0" * 8, b" " * 8])
def test_an_empty_field_is_0(field: bytes) -> None:
    assert header.number(field) == 0


@pytest.mark.parametrize(
    "field", [b"8\0", b"+7\0", b"0x1f\0", b"1 2\0", b"1_2\0", b"\x80" + b"\xff" * 11]
)
def test_what_is_no_number_is_refused(field: bytes) -> None:
    with pytest.raises(DataLossError):
        header.number(field)


def test_every_field_of_a_block() -> None:
    head = header.parse(
        block(
            b"name",
            flag=b"3",
            size=5,
            mode=b"0104755\0",
            uid=b"0000012\0",
            mtime=b"00000000017\0",
            link=b"link",
            major=b"0000001\0",
            minor=b"0000002\0",
            prefix=b"prefix",
        )
    )
    assert head == header.Header(
        path=b"prefix/name",
        mode=0o4755,
        uid=10,
        gid=0,
        size=5,
        mtime=15 * 10**9,
        flag=b"3",
        link=b"link",
        major=b"0000001\0",
        minor=b"0000002\0",
    )


def test_a_star_prefix_is_shorter() -> None:
    patch = {345 + 131: b"00000000017 ", 508: b"tar\0"}
    assert header.parse(block(b"n", prefix=b"p" * 131, patch=patch)).path == b"p" * 131 + b"/n"


def test_the_oldest_blocks_have_no_devices() -> None:
    head = header.parse(block(magic=bytes(8), major=b"garbage!"))
    assert (head.major, head.minor) == (b"", b"")
