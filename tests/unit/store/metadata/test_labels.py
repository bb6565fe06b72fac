import pytest

from store import errors
from store.metadata.labels import checked, merged


def test_an_empty_value_removes() -> None:
    assert merged({"a": "1", "b": "2"}, {"b": "", "c": "3", "d": ""}) == {"a": "1", "c": "3"}


def test_key_and_value_have_a_limit_together() -> None:
    assert checked({"k" * 96: "v" * 4000}) == {"k" * 96: "v" * 4000}
    with pytest.raises(errors.InvalidArgumentError, match="4097 bytes"):
        checked({"k" * 97: "v" * 4000})
    with pytest.raises(errors.InvalidArgumentError, match="4098 bytes"):
        checked({"k": "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 2048 + "v"})


def test_a_key_is_needed() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="a key"):
        checked({"": "v"})
