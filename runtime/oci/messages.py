"""What an OCI runtime says on its standard error, without its wrapping.

runc writes logfmt lines (or JSON with `--log-format=json`), crun plain text or JSON, perhaps after
a time stamp. People want the message. Text that is none of these is passed on as it is.
"""

import json
import re
from typing import Final

_LIMIT: Final = 4096
_LOGFMT = re.compile(r'level=(?P<level>\w+)\s+msg=(?P<text>"(?:[^"\\]|\\.)*"|\S+)')
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z?:?\s+")
_ERRORS: Final = frozenset({"error", "fatal", "panic"})


def plain(output: bytes) -> str:
    """Return the errors in `output` as one line; all of it if it has none that are marked."""
    text = output[:_LIMIT].decode(errors="replace").strip()
    found = _json(text) or _logfmt(text) or [_STAMP.sub("", line) for line in text.splitlines()]
    lines = (_printable(line) for line in found)
    return "; ".join(dict.fromkeys(line for line in lines if line))


def _printable(text: str) -> str:
    """Return one line that does nothing to a terminal: names in it may be a container's choice."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _logfmt(text: str) -> list[str]:
    return [
        _unquote(match["text"]) for match in _LOGFMT.finditer(text) if match["level"] in _ERRORS
    ]


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text.strip('"')


def _json(text: str) -> list[str]:
    """Read JSON objects that follow one another, on one line each or on several (crun)."""
    decoder = json.JSONDecoder()
    messages = []
    while text.startswith("{"):
        try:
            entry, end = decoder.raw_decode(text)
        except ValueError:
            break
        if str(entry.get("level", "error")) in _ERRORS:
            messages.append(str(entry.get("msg", "")))
        text = text[end:].lstrip()
    return messages
