import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType

import pytest

from store import errors
from store.metadata.encoding import Codec

Name = NewType("Name", str)


class Colour(enum.StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    path: Path
    maybe: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: Name
    inner: Inner
    colour: Colour = Colour.RED
    raw: bytes = b""
    pairs: tuple[tuple[str, bytes], ...] = ()
    inners: tuple[Inner, ...] = ()
    groups: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, bytes] = field(default_factory=dict)
    count: int | None = None
    ratio: float = 0.0


FULL = Outer(
    name=Name("n"),
    inner=Inner(path=Path("/a/b"), maybe=Path("c")),
    raw=b"\x00\xff",
    pairs=(("A", b"\xfe"), ("B", b"")),
    inners=(Inner(path=Path("/ä")),),
    groups=frozenset({"x", "y"}),
    labels={"a/b": "c\n"},
    extensions={"cri": b"\x01"},
    count=2**63 - 1,
    ratio=0.5,
)


@pytest.mark.parametrize("record", [FULL, Outer(name=Name(""), inner=Inner(path=Path()))])
def test_every_kind_of_field_comes_back_as_it_was(record: Outer) -> None:
    codec = Codec(Outer)
    back = codec.decode(codec.encode(record))
    assert back == record
    assert type(back.inner.path) is type(record.inner.path)
    assert back.colour is Colour.RED


def test_unknown_fields_are_ignored_and_missing_ones_get_their_default() -> None:
    data = b'{"name": "n", "inner": {"path": "/a", "later": {}}, "later": [1]}'
    assert Codec(Outer).decode(data) == Outer(name=Name("n"), inner=Inner(path=Path("/a")))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "Outer"),
        (b"{}", "name"),
        (b'{"name": 3}', "name"),
        (b'{"name": "n", "inner": {"path": 3}}', "inner"),
        (b'{"name": "n", "inner": {"path": "/a"}, "colour": "blue"}', "colour"),
        (b'{"name": "n", "inner": {"path": "/a"}, "raw": "*"}', "raw"),
        (b'{"name": "\xff"}', "Outer"),
        (b"[" * 100_000, "Outer"),
    ],
)
def test_what_is_no_record_is_refused_by_field(data: bytes, names: str) -> None:
    with pytest.raises(errors.DataLossError, match=names):
        Codec(Outer).decode(data)


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="Outer"):
        Codec(Outer).encode(Outer(name=Name("\udcff"), inner=Inner(path=Path())))


def test_a_type_without_a_json_form_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="complex"):
        Codec(complex).encode(1j)
