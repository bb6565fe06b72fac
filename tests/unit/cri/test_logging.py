import io
import json
import logging
import re
import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.config import LogFormat, LogLevel
from cri.logging import JsonFormatter, TextFormatter, fields, set_level, set_up


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    yield
    root.level, root.handlers[:] = before
    for name in ("cri", "runtime", "store", "ferryd"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def record(text: str = "it starts", values: dict[str, object] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("cri.x", logging.INFO, "x.py", 1, text, None, None)
    made.created = 1_763_859_600.1239
    vars(made).update(fields(values or {}))
    return made


def test_a_line_of_text_has_time_level_logger_message_and_fields() -> None:
    line = TextFormatter().format(record(values={"root": "/var/lib", "n": 2, "why": "a b"}))
    assert line == ('2025-11-23T01:00:00.123Z info cri.x "it starts" root=/var/lib n=2 why="a b"')


def test_stage_times_are_one_field() -> None:
    line = TextFormatter().format(record("rpc", {"stages": {"netns": 0.6, "record": 0.1}}))
    assert line.endswith(" rpc stages=netns:0.6,record:0.1")


def test_a_json_line_has_the_same() -> None:
    line = JsonFormatter().format(record(values={"n": 2, "stages": {"a": 1.5}}))
    assert json.loads(line) == {
        "time": "2025-11-23T01:00:00.123Z",
        "level": "info",
        "logger": "cri.x",
        "message": "it starts",
        "n": 2,
        "stages": {"a": 1.5},
    }


@given(st.text(), st.text())
def test_whatever_is_logged_stays_on_one_line(text: str, value: str) -> None:
    made = record(text.replace("%", ""), {"k": value})
    for formatter in (TextFormatter(), JsonFormatter()):
        assert len(formatter.format(made).splitlines()) == 1


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\\"'")))
def test_a_quoted_value_reads_back(value: str) -> None:
    line = TextFormatter().format(record("m", {"k": value}))
    assert shlex.split(line)[-1] == f"k={value}"


def test_a_traceback_follows() -> None:
    made = record()
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int("surprise")
    made.exc_info = (raised.type, raised.value, raised.tb)
    assert "\nTraceback (most" in TextFormatter().format(made)
    assert "surprise" in json.loads(JsonFormatter().format(made))["traceback"]


def test_the_level_is_ours_and_can_be_changed() -> None:
    stream = io.StringIO()
    set_up(LogLevel.INFO, LogFormat.TEXT, stream)
    logging.getLogger("runtime.x").debug("hidden")
    logging.getLogger("other").info("hidden")
    logging.getLogger("runtime.x").info("one")
    set_level(LogLevel.DEBUG)
    logging.getLogger("runtime.x").debug("two")
    set_level(LogLevel.ERROR)
    logging.getLogger("runtime.x").warning("hidden")
    assert re.findall(r"runtime\.x (\w+)", stream.getvalue()) == ["one", "two"]
    assert "hidden" not in stream.getvalue()
