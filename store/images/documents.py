"""JSON that strangers wrote, read so that nobody else can read it differently.

Bytes in, typed values out: size and nesting are limited before anything is built, a key may occur
once, text must be UTF-8 without lone surrogates, and types are checked with the path to what is
wrong. Nothing here knows what a manifest is.
"""

import json
import re
from typing import Final, TypeVar

import msgspec

from store.errors import DataLossError

SIZE_LIMIT: Final = 8 * 1024 * 1024
NESTING_LIMIT: Final = 64
PIECES_LIMIT: Final = 200_000
"""Quotes, commas, escapes and opening brackets. Reading costs up to a microsecond for each, and the
interpreter belongs to nobody else meanwhile; an index of a thousand manifests has 40,000."""

T = TypeVar("T")

# Possessive, and an open string runs to the end: linear time whatever the input.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_PIECES: Final = (b'"', b",", b"\\", b"[", b"{")
_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(c for c in range(256) if c not in b"[]{}")


def decode(data: bytes, type_: type[T], what: str) -> T:
    """Return `data` as a `type_`; `what` names the document in errors.

    Raises:
        DataLossError: a limit is passed, it is not JSON, has a key twice, or is not of this type.
    """
    if len(data) > SIZE_LIMIT:
        raise malformed(what, f"{len(data)} bytes are more than {SIZE_LIMIT}")
    if sum(data.count(piece) for piece in _PIECES) > PIECES_LIMIT:
        raise malformed(what, "it has too many pieces")
    if _deeper_than(data, NESTING_LIMIT):
        raise malformed(what, f"it is nested deeper than {NESTING_LIMIT}")
    try:
        value = msgspec.json.decode(data, type=type_)
        json.loads(data.decode(), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise malformed(what, str(error)[:300]) from error
    return value


def malformed(what: str, why: str) -> DataLossError:
    """Return the error for a document that is not what it should be."""
    return DataLossError(f"cannot read {what}: {why}")


def _deeper_than(data: bytes, limit: int) -> bool:
    """Tell whether brackets nest deeper than `limit`, by removing the innermost ones each round."""
    brackets = _STRINGS.sub(b"", data).translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):
            return len(brackets) > limit
        brackets = inner
    return bool(brackets)


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:100]!r} occurs twice")
        result[key] = value
    return result
