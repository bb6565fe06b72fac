import pytest

from store.images.replies import retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("7", 7.0),
        ("0", 0.0),
        ("-1", None),
        ("9" * 5000, 999_999_999.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:01:40 -0000", 90.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
    ],
)
def test_servers_say_when_to_come_back(text: str, seconds: float | None) -> None:
    assert retry_after(text, now=10.0) == seconds
