from dataclasses import replace

from store.database.rows import Row


def test_every_column_counts_in_the_sum() -> None:
    row = Row(kind="k", namespace="n", id="i", data=b"data")
    others = [
        replace(row, kind="x"),
        replace(row, namespace="x"),
        replace(row, id="x"),
        replace(row, data=b"datb"),
        Row(kind="kn", namespace="", id="i", data=b"data"),
    ]
    assert len({row.check_sum, *(other.check_sum for other in others)}) == 6
    assert replace(row).check_sum == row.check_sum
