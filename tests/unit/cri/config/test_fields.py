import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.config import LogLevel, fields
from cri.config.fields import Option, option, options, read, write


@dataclass(frozen=True, kw_only=True)
class Section:
    count: int = option(3, "How many.", check=fields.at_least(1), live=True)
    places: tuple[Path, ...] = option((Path("/a"),), "Where.", check=fields.all_absolute)
    level: LogLevel = option(LogLevel.INFO, "How loud.")
    ratio: float = option(0.5, "How much.")
    plain: int = 0


def known(name: str) -> Option:
    return options(Section)[name]


def test_only_declared_fields_are_options_and_they_keep_their_order() -> None:
    assert list(options(Section)) == ["count", "places", "level", "ratio"]


def test_an_option_knows_its_default_its_reason_and_when_it_takes_effect() -> None:
    found = known("count")
    assert (found.default, found.why, found.live) == (3, "How many.", True)
    assert not known("ratio").live


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 7, 7),
        ("ratio", 2, 2.0),
        ("places", ["/x", "/y"], (Path("/x"), Path("/y"))),
        ("level", "debug", LogLevel.DEBUG),
    ],
)
def test_a_value_becomes_the_options_type(name: str, value: object, expected: object) -> None:
    result = read(known(name), value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("count", True, "must be a whole number, not 'True' (bool)"),
        ("count", 1.5, "must be a whole number"),
        ("count", 0, "must be at least 1, not 0"),
        ("ratio", "1", "must be a number"),
        ("places", "/x", "must be a list"),
        ("places", ["x"], "x: must be an absolute path"),
        ("places", ["/x/../y"], "/x/../y: must be an absolute path"),
        ("places", [1], "must be a path as a string"),
        ("level", "loud", 'must be one of "debug", "info", "warning", "error", not \'loud\''),
    ],
)
def test_a_bad_value_says_what_is_wanted(name: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match="must") as raised:
        read(known(name), value)
    assert text in str(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_numbers_are_finite_and_not_too_small(value: float) -> None:
    assert fields.at_least(1)(value).startswith("must be at least 1")


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        (("10.0.0.0/16",), True),
        (("10.0.0.0/16", "fd00::/64"), True),
        ((), False),
        (("10.0.0.0/16", "10.1.0.0/16"), False),
        (("10.0.0.1/16",), False),
        (("pods",), False),
    ],
)
def test_networks_are_one_of_each_family(values: tuple[str, ...], *, fits: bool) -> None:
    assert (fields.networks(values) == "") is fits


def test_addresses_are_checked_one_by_one() -> None:
    assert fields.addresses(("1.1.1.1", "fd00::1")) == ""
    assert "'dns'" in fields.addresses(("1.1.1.1", "dns"))


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
    )
)
def test_what_is_written_reads_back(value: object) -> None:
    result = tomllib.loads(f"key = {write(value)}")["key"]
    assert (tuple(result) if isinstance(result, list) else result) == value


@pytest.mark.parametrize(
    ("name", "siblings", "elsewhere", "meant"),
    [
        ("daemon.rot", ["daemon.root", "daemon.state"], [], "daemon.root"),
        ("images.root", ["images.pinned"], ["daemon.root"], "daemon.root"),
        ("images.zzz", ["images.pinned", "images.platform"], ["gc.x"], "images.pinned"),
    ],
)
def test_the_nearest_name_is_found(
    name: str, siblings: list[str], elsewhere: list[str], meant: str
) -> None:
    assert fields.nearest(name, siblings, elsewhere) == meant
