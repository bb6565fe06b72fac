import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec.text import absolute, checked
from store.errors import InvalidArgumentError


def test_text_with_nul_or_broken_unicode_is_refused_by_name() -> None:
    assert checked("field", "grün") == "grün"
    with pytest.raises(InvalidArgumentError, match=r"cannot use field .*NUL"):
        checked("field", "a\0b")
    with pytest.raises(InvalidArgumentError, match=r"cannot use field .*UTF-8"):
        checked("field", "\ud800")


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("//a", "/a"), ("/a/../../b", "/b"), ("/a/./b/", "/a/b"), ("/../..", "/")],
)
def test_paths_are_cleaned_and_stop_at_the_root(path: str, clean: str) -> None:
    assert absolute("p", path) == clean


@pytest.mark.parametrize("path", ["", "a", "./a", "../a"])
def test_relative_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="must be an absolute path"):
        absolute("p", path)


@given(st.text(alphabet="./ab", max_size=20))
def test_a_clean_path_has_no_way_up(path: str) -> None:
    clean = absolute("p", f"/{path}")
    assert posixpath.normpath(clean) == clean
    assert ".." not in clean.split("/")
