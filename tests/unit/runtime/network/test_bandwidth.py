import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.network.bandwidth import EGRESS, INGRESS, Bandwidth, burst, parse_bandwidth
from store.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1k", 1000),
        ("10M", 10_000_000),
        ("+10M", 10_000_000),
        ("1.5M", 1_500_000),
        (".5M", 500_000),
        ("1.M", 1_000_000),
        ("1Ki", 1024),
        ("1.5Gi", 1_610_612_736),
        ("2e6", 2_000_000),
        ("2E+6", 2_000_000),
        ("0.001E", 10**15),
        ("1P", 10**15),
        ("1000", 1000),
        ("1000000000n", None),
        ("2000000m", 2000),
        ("2000.9", 2000),
    ],
)
def test_quantities_are_those_of_kubernetes(text: str, rate: int | None) -> None:
    if rate is None:
        with pytest.raises(InvalidArgumentError):
            parse_bandwidth({INGRESS: text})
    else:
        assert parse_bandwidth({INGRESS: text}) == Bandwidth(ingress=rate)


@pytest.mark.parametrize(
    "text", ["", "x", "-1M", "10MB", "10 M", "1e", "0", "999", "1001T", "٣M", "1" * 99, "1e999"]
)
def test_others_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=EGRESS) as refused:
        parse_bandwidth({EGRESS: text})
    assert repr(text[:80]) in str(refused.value)


def test_each_direction_is_its_own() -> None:
    assert parse_bandwidth({"other": "1M"}) == Bandwidth()
    both = {INGRESS: "1M", EGRESS: "2M"}
    assert parse_bandwidth(both) == Bandwidth(ingress=10**6, egress=2 * 10**6)


@given(st.integers(10**3, 10**15))
def test_a_burst_is_a_tenth_of_a_second_within_bounds(rate: int) -> None:
    assert 128 << 10 <= burst(rate) // 8 <= 1 << 28
    assert burst(10**8) == 10**7


@given(st.text(max_size=20))
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    try:
        found = parse_bandwidth({INGRESS: text})
    except InvalidArgumentError:
        return
    assert 10**3 <= found.ingress <= 10**15
