"""The daemon's log: one line for each event, as key=value text or as JSON.

A message carries its values in `fields`: `log.info("rpc", extra=fields({"method": "Version"}))`.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from cri.config import LogFormat, LogLevel

Fields = Mapping[str, object]

_KEY: Final = "ferry_fields"
_PLAIN: Final = re.compile(r"[^\s\"=\\]+")
_LEVELS: Final[Mapping[LogLevel, int]] = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def fields(values: Fields) -> dict[str, object]:
    """Return what to pass as `extra`, for values that belong to a message."""
    return {_KEY: values}


def set_up(level: LogLevel, form: LogFormat, stream: TextIO = sys.stderr) -> None:
    """Send everything that is logged in this process to `stream`; replaces what was set up."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Change how much is logged, from now on; libraries stay at warnings."""
    logging.getLogger().setLevel(logging.WARNING)
    for ours in ("ferryd", "cri", "runtime", "store"):
        logging.getLogger(ours).setLevel(_LEVELS[level])


class TextFormatter(logging.Formatter):
    """`2026-11-23T01:02:03.456Z info cri.daemon "it starts" root=/var/lib/ferry`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback's lines after it if there is one."""
        head = (_time(record), record.levelname.lower(), record.name, _quoted(record.getMessage()))
        pairs = (f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        return "\n".join((" ".join((*head, *pairs)), *_traceback(self, record)))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and the message's fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback is its `traceback`."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if trace := _traceback(self, record):
            entry["traceback"] = trace[0]
        return json.dumps(entry, default=str)


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> Fields:
    found = getattr(record, _KEY, None)
    return found if isinstance(found, Mapping) else {}


def _quoted(value: object) -> str:
    """Leave single words alone; newlines and quotes of others cannot break the line."""
    if isinstance(value, Mapping):
        text = ",".join(f"{key}:{item}" for key, item in value.items())
    else:
        text = str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []
