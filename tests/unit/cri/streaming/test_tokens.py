"""Tokens: secret, once, for a minute, at most so many."""

import pytest

from cri.streaming import PortForwardRequest
from cri.streaming.tokens import Tokens
from store.errors import NotFoundError, ResourceExhaustedError

REQUEST = PortForwardRequest(namespace="test", sandbox_id="pod")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_long_and_new_each_time() -> None:
    tokens = Tokens()
    given = {tokens.add(REQUEST) for _ in range(1000)}
    assert len(given) == 1000
    assert {len(token) for token in given} == {32}  # 24 bytes as base64url


def test_looking_leaves_it_good_and_taking_does_not() -> None:
    tokens = Tokens()
    token = tokens.add(REQUEST)
    assert tokens.look(token) is tokens.look(token) is REQUEST
    assert tokens.take(token) is REQUEST
    for find in (tokens.look, tokens.take):
        with pytest.raises(NotFoundError):
            find(token)


def test_a_token_is_good_for_a_minute() -> None:
    clock = Clock()
    tokens = Tokens(clock=clock)
    early = tokens.add(REQUEST)
    clock.now += 59.9
    late = tokens.add(REQUEST)
    assert tokens.look(early) is REQUEST
    clock.now += 0.1
    with pytest.raises(NotFoundError):
        tokens.take(early)
    assert tokens.take(late) is REQUEST


def test_there_are_at_most_so_many_that_are_still_good() -> None:
    clock = Clock()
    tokens = Tokens(limit=3, clock=clock)
    first = tokens.add(REQUEST)
    tokens.add(REQUEST)
    tokens.add(REQUEST)
    with pytest.raises(ResourceExhaustedError, match="3 wait"):
        tokens.add(REQUEST)
    tokens.take(first)
    tokens.add(REQUEST)
    clock.now += 60
    for _ in range(3):
        tokens.add(REQUEST)


@pytest.mark.parametrize("token", ["", "x", "../exec", "é", "x" * 10_000])
def test_what_was_never_given_is_not_found(token: str) -> None:
    with pytest.raises(NotFoundError):
        Tokens().look(token)
