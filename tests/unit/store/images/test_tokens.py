from store.images.auth import Token
from store.images.tokens import TokenCache


def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    now = 0.0
    cache = TokenCache(lambda: now)
    key = ("host", "scope", None)
    assert cache.get(key) == ""
    cache.put(key, Token(value="T", lifetime=100))
    now = 89.0
    assert cache.get(key) == "T"
    assert cache.get(("other", "scope", None)) == ""
    now = 90.0
    assert cache.get(key) == ""


def test_only_the_refused_token_is_dropped() -> None:
    cache = TokenCache(lambda: 0.0)
    key = ("host", "scope", None)
    cache.put(key, Token(value="new", lifetime=100))
    cache.drop(key, "old")
    assert cache.get(key) == "new"
    cache.drop(key, "new")
    assert cache.get(key) == ""


def test_the_oldest_go_when_there_are_many() -> None:
    cache = TokenCache(lambda: 0.0)
    for number in range(300):
        cache.put((str(number), "scope", None), Token(value="T", lifetime=100))
    assert cache.get(("0", "scope", None)) == ""
    assert cache.get(("299", "scope", None)) == "T"
    assert len(cache._tokens) == 256
