import pytest

from store import errors
from store.metadata import identifiers


@pytest.mark.parametrize("text", ["a", "k8s.io", "A-b_c.d", "0", "a" * 76])
def test_identifiers(text: str) -> None:
    assert identifiers.checked("namespace", text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a..b", "a-", "-a", "a/b", "a\n", "a\0", "a b", "é", "a" * 77]
)
def test_what_is_no_identifier(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="namespace"):
        identifiers.checked("namespace", text)
