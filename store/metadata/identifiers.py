"""Identifiers of namespaces, containers and leases: one grammar for all (model.md, section 2)."""

import re
from typing import Final

from store import errors

_LIMIT: Final = 76
_GRAMMAR: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


def checked(what: str, text: str) -> str:
    """Return `text` if it is an identifier, which is also safe as a component of a path.

    Args:
        what: the name of the field, for the error.
        text: the candidate.

    Raises:
        InvalidArgumentError: it is not.
    """
    if len(text) > _LIMIT or _GRAMMAR.fullmatch(text) is None:
        raise errors.InvalidArgumentError(
            f"cannot use {what} {text[:100]!r}: want 1 to {_LIMIT} letters and digits, "
            "with single '.', '_' or '-' between them"
        )
    return text
