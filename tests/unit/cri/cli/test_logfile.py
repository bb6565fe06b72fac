import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.cli import logfile
from cri.cli.logfile import Entry, Reader, last, parse, rotated

STAMP = "2026-11-23T03:13:33.182481451+00:00"


def line(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"{STAMP} {stream} {tag} {text}\n".encode()


def texts(reader: Reader) -> list[str]:
    return [entry.text.decode() for entry in reader.entries()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"T stdout F hi there", Entry("T", "stdout", partial=False, text=b"hi there")),
        (b"T stderr P a", Entry("T", "stderr", partial=True, text=b"a")),
        (b"T stdout P:more a", Entry("T", "stdout", partial=True, text=b"a")),
        (b"T stdout F  two spaces ", Entry("T", "stdout", partial=False, text=b" two spaces ")),
        (b"T stdout F ", Entry("T", "stdout", partial=False, text=b"")),
        (b"T stdout F", Entry("T", "stdout", partial=False, text=b"")),
        (b"T stdout F \xff\r", Entry("T", "stdout", partial=False, text=b"\xff\r")),
        (b"garbage", None),
        (b"", None),
    ],
)
def test_an_entry_is_read_as_kubernetes_writes_it(raw: bytes, expected: Entry | None) -> None:
    assert parse(raw) == expected


def test_what_is_added_comes_once_and_whole(path: Path) -> None:
    path.write_bytes(line("one"))
    with Reader(path) as reader:
        assert texts(reader) == ["one"]
        assert texts(reader) == []
        with path.open("ab") as log:
            log.write(line("two") + line("three")[:-3])
            log.flush()
            assert texts(reader) == ["two"]
            log.write(line("three")[-3:])
        assert texts(reader) == ["three"]


def test_a_log_may_come_later(path: Path) -> None:
    with Reader(path) as reader:
        assert texts(reader) == []
        path.write_bytes(line("one"))
        assert texts(reader) == ["one"]


def test_a_rotation_loses_and_repeats_nothing(path: Path) -> None:
    path.write_bytes(line("one"))
    with Reader(path) as reader:
        assert texts(reader) == ["one"]
        old = path.rename(path.with_name("0.log.20260101-000000"))
        assert texts(reader) == []  # the writer has not reopened it yet
        with old.open("ab") as log:
            log.write(line("two"))
        assert texts(reader) == ["two"]
        with old.open("ab") as log:
            log.write(line("three"))
        path.write_bytes(line("four"))
        assert texts(reader) == ["three", "four"]
        path.write_bytes(b"")
        assert texts(reader) == []  # truncated in place
        path.write_bytes(line("5"))
        assert texts(reader) == ["5"]


def test_older_files_come_first_packed_or_not(path: Path) -> None:
    path.write_bytes(line("five"))
    packed = gzip.compress(line("one") + line("two"))
    path.with_name("0.log.20260101-000000.gz").write_bytes(packed)
    path.with_name("0.log.20260102-000000").write_bytes(line("three"))
    # The kubelet packs: the same part twice, and one that is not complete.
    path.with_name("0.log.20260103-000000").write_bytes(line("four"))
    path.with_name("0.log.20260103-000000.gz").write_bytes(gzip.compress(line("four")))
    path.with_name("0.log.20260103-000000.gz.tmp").write_bytes(b"half")
    path.with_name("10.log").write_bytes(line("other"))
    assert [each.name for each in rotated(path)] == [
        "0.log.20260101-000000.gz",
        "0.log.20260102-000000",
        "0.log.20260103-000000.gz",
    ]
    with Reader(path) as reader:
        assert texts(reader) == ["one", "two", "three", "four", "five"]
    for count in range(7):
        with Reader(path, count) as reader:
            assert texts(reader) == ["one", "two", "three", "four", "five"][max(0, 5 - count) :]


def test_a_tail_goes_on_with_what_comes(path: Path) -> None:
    path.write_bytes(line("one") + line("two"))
    with Reader(path, 1) as reader:
        with path.open("ab") as log:
            log.write(line("three"))
        assert texts(reader) == ["two", "three"]


def test_parts_of_a_line_count_once(path: Path) -> None:
    path.write_bytes(line("one") + line("a", "P") + line("b", "P") + line("c") + line("d", "P"))
    with Reader(path, 1) as reader:
        assert texts(reader) == ["a", "b", "c", "d"]
    with Reader(path, 0) as reader:
        assert texts(reader) == ["d"]


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_descriptors_are_closed(path: Path) -> None:
    path.write_bytes(line("one"))
    before = descriptors()
    with Reader(path) as reader:
        assert texts(reader) == ["one"]
        path.unlink()
        path.write_bytes(line("two"))
        assert texts(reader) == ["two"]
    assert descriptors() == before


@given(
    lines=st.lists(
        st.tuples(st.integers(0, 30).map(lambda size: "x" * size), st.sampled_from("FP"))
    ),
    count=st.integers(0, 8),
    block=st.integers(1, 64),
    rest=st.sampled_from([b"", b"T stdout F unfin"]),
)
def test_the_last_lines_are_found_whatever_the_blocks(
    lines: list[tuple[str, str]], count: int, block: int, rest: bytes
) -> None:
    raw = [line(text, tag) for text, tag in lines]
    expected, left = len(raw), count
    for number in reversed(range(len(raw))):
        if lines[number][1] == "F":
            if not left:
                break
            left -= 1
        expected = number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "_BLOCK", block)
        start, missing = last(io.BytesIO(b"".join(raw) + rest), count)
    # With nothing to show, an unfinished line begins where it does.
    whole = sum(map(len, raw[:expected]))
    assert start == (whole if expected < len(raw) else len(b"".join(raw) + rest))
    assert missing == left
