import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.monitor import MonitorRequest
from runtime.monitor.report import Report, exit_of, parse
from runtime.oci import Handler


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (b'{"pid": 42}', Report(42)),
        (b'{"data": 42}', Report(42)),
        (b'{"pid": -1, "message": "cannot\\n"}', Report(-1, "cannot")),
        (b'{"pid": -1, "message": "a \x01 raw byte"}', Report(-1, "a raw byte")),
        (b'{"pid": -1, "message": "time=x level=error msg=\\"no\\""}', Report(-1, "no")),
        (b"", Report(-1)),
        (b"{}", Report(-1)),
        (b"[]", Report(-1, "[]")),
        (b'{"pid": null}', Report(-1)),
        (b"garbage", Report(-1, "garbage")),
    ],
)
def test_a_line_is_read(line: bytes, report: Report) -> None:
    assert parse(line) == report


@given(st.binary(max_size=100))
def test_no_line_is_too_odd(line: bytes) -> None:
    assert isinstance(parse(line), Report)


@pytest.fixture
def request_(tmp_path: Path) -> MonitorRequest:
    return MonitorRequest(
        namespace="test",
        container_id="a",
        name="a",
        bundle=tmp_path / "bundle",
        directory=tmp_path,
        handler=Handler(name="x", binary=Path("/x"), root=Path("/x")),
    )


@pytest.mark.parametrize(
    ("text", "code"), [("0", 0), ("137", 137), ("7\n", 7), ("-1", 255), ("1000", 255)]
)
def test_an_exit_file_is_code_and_time(request_: MonitorRequest, text: str, code: int) -> None:
    path = request_.directory / "exit"
    path.write_text(text)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    ended = exit_of(request_)
    assert ended is not None
    assert (ended.code, ended.at, ended.oom) == (code, 1_700_000_000_123_456_789, False)


@pytest.mark.parametrize("text", ["", "x", "1 2", "\0"])
def test_a_damaged_exit_file_tells_nothing(request_: MonitorRequest, text: str) -> None:
    assert exit_of(request_) is None
    (request_.directory / "exit").write_text(text)
    assert exit_of(request_) is None


@pytest.mark.parametrize("place", ["oom", "bundle/oom"])
def test_an_oom_mark_counts_wherever_it_is(request_: MonitorRequest, place: str) -> None:
    request_.bundle.mkdir()
    (request_.directory / "exit").write_text("137")
    (request_.directory / place).touch()
    ended = exit_of(request_)
    assert ended is not None
    assert ended.oom
