import pytest

from store.errors import InvalidArgumentError
from store.images.pins import Pins

PAUSE = "docker.io/library/pause:3.10"


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("pause:3.10", PAUSE, True),
        ("docker.io/library/pause:3.10", PAUSE, True),
        ("pause", PAUSE, False),
        ("pause", "docker.io/library/pause:latest", True),
        ("docker.io/library/pause*", PAUSE, True),
        ("library/pause*", PAUSE, False),
        ("*pause*", PAUSE, True),
        ("*Pause*", PAUSE, False),
    ],
)
def test_a_pattern_matches_names(pattern: str, name: str, *, matches: bool) -> None:
    assert Pins([pattern]).match(["quay.io/other/app:v1", name]) == matches


def test_nothing_is_pinned_by_default() -> None:
    assert not Pins().match([PAUSE])


@pytest.mark.parametrize("pattern", ["", "*", "**", "*pause", "a*b", "*a*b*", "Not A Name"])
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Pins([pattern])
