import pytest

from cri.services import checks


@pytest.mark.parametrize("value", ["a", "pod.name-1", "A_b", "x" * 253])
def test_names_that_kubernetes_uses_pass(value: str) -> None:
    assert checks.name(value) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "must not be empty"),
        ("x" * 254, "must have at most 253 characters, not 254"),
        ("a/b", "must not contain '/' or '..'"),
        ("..", "must not contain '/' or '..'"),
        ("a..b", "must not contain '/' or '..'"),
        (".", "must not contain '/' or '..'"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
    ],
)
def test_names_that_could_leave_their_place_are_refused(value: str, text: str) -> None:
    assert text in checks.name(value)


@pytest.mark.parametrize("value", ["", "-a", "a b", "a/b", "..", "a..b", "é", "a\n", "x" * 10_240])
def test_only_plain_words_are_identifiers(value: str) -> None:
    assert checks.identifier(value) != ""


@pytest.mark.parametrize("value", ["0", "c0ffee", "nginx-1.2_3"])
def test_identifiers_may_be_short(value: str) -> None:
    assert checks.identifier(value) == ""


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.absolute, ["/", "/a/b", "/a..b"], ["", "a", "/a/../b", "/a\n", "/" + "a" * 4096]),
        (checks.relative, ["a", "a/0.log"], ["", "/a", "../a", "a/..", "a\0"]),
        (checks.cgroup, ["/kubepods/x", "test.slice"], ["", "/a/../..", "a\nb"]),
        (checks.hostname, ["node-1"], ["", "a b", "a/b", "x" * 65]),
        (checks.word, ["ndots:5"], ["", "a b", "a\nnameserver"]),
        (checks.address, ["1.2.3.4", "fd00::1"], ["", "1.2.3", "localhost"]),
        (checks.reference, ["busybox:1", "sha256:0"], ["", "a b", "a\n", "x" * 5000]),
        (checks.optional(checks.absolute), ["", "/a"], ["a"]),
        (checks.matches("[rwm]{0,3}", "letters"), ["", "rw"], ["x", "rwmr"]),
    ],
)
def test_each_check_lets_through_what_it_means(
    check: checks.Text, good: list[str], bad: list[str]
) -> None:
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


def test_ranges_may_have_values_beside_them() -> None:
    check = checks.between(1000, 2000, 0, -1)
    assert [value for value in (-2, -1, 0, 1, 999, 1000, 2000, 2001) if not check(value)] == [
        -1,
        0,
        1000,
        2000,
    ]
    assert check(5) == "must be 0, -1, 1000 to 2000, not 5"


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(checks.absolute("a" * 4000)) < 150
