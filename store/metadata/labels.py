"""Labels: the rules that every labelled thing shares (model.md, section 2)."""

from collections.abc import Mapping
from typing import Final

from store import errors

_LIMIT: Final = 4096


def checked(labels: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `labels`.

    Raises:
        InvalidArgumentError: a key is empty, or key and value have more than 4096 bytes together.
    """
    for key, value in labels.items():
        size = len(key.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
        if not key or size > _LIMIT:
            raise errors.InvalidArgumentError(
                f"cannot set label {key[:64]!r}: key and value have {size} bytes, "
                f"want 1 to {_LIMIT} and a key"
            )
    return dict(labels)


def merged(labels: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Return `labels` with `changes` over them; an empty value removes a label."""
    everything = {**labels, **checked(changes)}
    return {key: value for key, value in everything.items() if value}
