import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError
from store.images import documents


class Thing(msgspec.Struct):
    name: str = ""
    tags: dict[str, str] = {}


def test_a_document_becomes_its_type() -> None:
    thing = documents.decode(b'{"name": "x", "tags": {"a": "b"}, "other": [1]}', Thing, "thing")
    assert (thing.name, thing.tags) == ("x", {"a": "b"})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"<html>", "malformed"),
        (b'{"name": 1}', r"\$.name"),
        (b'{"name": "a", "name": "b"}', "'name' occurs twice"),
        (b'{"tags": {"a": "1", "a": "1"}}', "'a' occurs twice"),
        (b'{"other": [{"k": 1, "k": 2}]}', "'k' occurs twice"),
        (b'{"n\\u0061me": "a", "name": "b"}', "'name' occurs twice"),
        (b'{"other": ' + b"[" * 65 + b"]" * 65 + b"}", "nested deeper than 64"),
        (b'{"other": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "too many pieces"),
        (b'{"other": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, "nested deeper than 64"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b'{"name": NaN}', "malformed"),
        (b'{"name": "\xff"}', "utf-8"),
        (b'{"name": "\\ud800"}', "surrogate|truncated"),
        (b'{"name": "\\ud800 and more text"}', "surrogate|pair|malformed"),
        (b'{"other": "\\udc00 and more text"}', "surrogate|pair|malformed"),
        (b"{} {}", "malformed"),
        (b'"' * 200_001, "too many pieces"),
        (b"[" + b"1," * 200_000 + b"1]", "too many pieces"),
        (b'"' + b"\\n" * 200_000 + b'"', "too many pieces"),
        (b" " * (8 * 1024 * 1024 + 1), "more than 8388608"),
    ],
)
def test_a_bad_document_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DataLossError, match=f"cannot read thing: .*({reason})") as caught:
        documents.decode(data, Thing, "thing")
    assert len(str(caught.value)) < 500


def test_brackets_inside_of_strings_do_not_nest() -> None:
    data = json.dumps({"name": '[{"\\' * 500}).encode()
    assert documents.decode(data, Thing, "thing").name == '[{"\\' * 500


@pytest.mark.parametrize("data", [b'["",' + b'"",' * 60_000 + b'""]', b'"\\' * 99_000])
def test_reading_takes_linear_time(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(DataLossError):
        documents.decode(data, Thing, "thing")
    assert time.process_time() - began < 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


@given(_JSON)
def test_what_json_writes_is_read_back(value: object) -> None:
    assert documents.decode(json.dumps(value).encode(), object, "value") == value


@given(st.integers(1, 200))
def test_the_nesting_limit_is_exact(depth: int) -> None:
    data = b"[" * depth + b"]" * depth
    if depth <= documents.NESTING_LIMIT:
        assert isinstance(documents.decode(data, object, "value"), list)
    else:
        with pytest.raises(DataLossError, match="nested deeper"):
            documents.decode(data, object, "value")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = documents.decode(data, object, "value")
    except DataLossError:
        return
    assert value == json.loads(data)
