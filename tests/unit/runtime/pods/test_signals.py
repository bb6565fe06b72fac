import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.pods import signals
from store.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("9", 9),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-2", signal.SIGRTMAX - 2),
        ("SIGRTMAX", signal.SIGRTMAX),
    ],
)
def test_names_have_numbers(name: str, value: int) -> None:
    assert signals.number(name) == value


@pytest.mark.parametrize("name", ["", "NOPE", "0", "65", "SIGRTMIN-1", "RTMAX+1", "RTMIN+99", "-1"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="no such signal"):
        signals.number(name)


@given(st.integers(min_value=1, max_value=64).filter(lambda n: n not in {32, 33}))
def test_an_effective_name_leads_back_to_its_number(value: int) -> None:
    assert signals.number(signals.effective(str(value), "")) == value


def test_the_request_wins_over_the_image_and_nonsense_in_an_image_counts_for_nothing() -> None:
    assert signals.effective("SIGINT", "SIGQUIT") == "SIGINT"
    assert signals.effective("", "SIGQUIT") == "SIGQUIT"
    assert signals.effective("", "rm -rf") == "SIGTERM"
    assert signals.effective("", "") == "SIGTERM"
    with pytest.raises(InvalidArgumentError):
        signals.effective("NOPE", "SIGQUIT")
