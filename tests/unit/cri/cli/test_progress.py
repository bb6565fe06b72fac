import itertools

import pytest

from cri.cli.progress import Rows

News = tuple[str, int]


def seen(*news: News, total: int = 10) -> list[tuple[str, int]]:
    rows = Rows()
    found = [rows.heard(stage, "a", done, total) for stage, done in news]
    assert len(rows.by_item) == 1
    return [(row.verb, row.done) for row in found[-1:]]


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        ([("resolve", 0)], ("resolving", 0)),
        ([("download", 0)], ("waiting", 0)),
        ([("download", 4)], ("fetching", 4)),
        ([("download", 4), ("unpack", 3)], ("fetching", 4)),
        ([("unpack", 3), ("download", 4)], ("fetching", 4)),
        ([("download", 10)], ("unpacking", 0)),
        ([("download", 10), ("unpack", 3)], ("unpacking", 3)),
        ([("unpack", 3), ("download", 10)], ("unpacking", 3)),
        ([("unpack", 3)], ("unpacking", 3)),
        ([("download", 10), ("unpack", 10)], ("done", 10)),
        ([("unpack", 10), ("download", 10)], ("done", 10)),
        ([("resolve", 0), ("publish", 0)], ("done", 10)),
        ([("download", 4), ("download", 0)], ("waiting", 0)),  # begun anew elsewhere
        ([("download", 0), ("unpack", 3)], ("unpacking", 3)),  # it was here already
    ],
)
def test_a_row_shows_what_keeps_its_layer(news: list[News], expected: tuple[str, int]) -> None:
    assert seen(*news) == [expected]


def test_an_unknown_total_is_no_end() -> None:
    assert seen(("unpack", 7), total=0) == [("unpacking", 7)]


def test_layers_keep_their_rows() -> None:
    rows = Rows()
    for item, done in itertools.product("abc", (1, 2)):
        rows.heard("download", item, done, 9)
    assert [(row.item, row.done) for row in rows.by_item.values()] == [
        ("a", 2),
        ("b", 2),
        ("c", 2),
    ]
