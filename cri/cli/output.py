"""Tables and JSON."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

_UNITS: Final = ("B", "kB", "MB", "GB")


def print_json(value: object) -> None:
    """Print a value as JSON."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_messages(messages: Iterable["Message"]) -> None:
    """Print protobuf messages as a JSON array, with the field names of the .proto."""
    print_json([document(message) for message in messages])


def document(message: "Message") -> Mapping[str, object]:
    """Return a protobuf message as JSON has it, with every field and the names of the .proto."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - see cri.cli

    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without borders: aligned on a terminal and still easy to cut in a script."""
    table = [tuple(columns), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[number]) for row in table) for number in range(len(columns))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def printable(text: str) -> str:
    """Return text from elsewhere without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def short(id_: str) -> str:
    """Return an id as people copy it."""
    return id_.removeprefix("sha256:")[:13]


def size(count: int) -> str:
    """Return bytes as people read them."""
    value = float(count)
    for unit in _UNITS:
        if round(value) < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}TB"


def age(created_at: int) -> str:
    """Return how long ago a Unix time in nanoseconds is, as one number with its unit."""
    seconds = max(0, int(time.time() - created_at / 1e9))
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // divisor}{unit}"
    return f"{seconds // 86400}d"
