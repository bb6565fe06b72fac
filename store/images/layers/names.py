"""What an entry's name means: a path below the layer's root, or a whiteout of one."""

import enum
from typing import Final, NamedTuple

from store.errors import DataLossError

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
_PRIVATE: Final = b".wh..wh."
_NOWHERE: Final = frozenset({b"", b".", b".."})


class Meaning(enum.Enum):
    """What to do at the path."""

    MAKE = enum.auto()
    HIDE = enum.auto()
    HIDE_ALL_IN = enum.auto()
    NOTHING = enum.auto()


class Target(NamedTuple):
    """Where and what; `path` is empty for the root of the layer."""

    path: bytes
    meaning: Meaning


def clean(name: bytes, limit: int) -> bytes:
    """Return a name as a path relative to the layer's root: empty for the root itself.

    Raises:
        DataLossError: it has a `..` component or a NUL, or more than `limit` bytes.
    """
    if len(name) > limit:
        raise DataLossError(f"its name has {len(name)} bytes, more than {limit}")
    if b"\0" in name:
        raise DataLossError("a NUL in its name")
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise DataLossError("a '..' in its name")
    return b"/".join(parts)


def target(name: bytes, limit: int) -> Target:
    """Return what an entry called `name` is about.

    Names that start with `.wh..wh.` belong to AUFS, which kept its own records in layers: they
    are passed over, as the specification says.

    Raises:
        DataLossError: as `clean`, or a whiteout that hides nothing, or is used as a directory.
    """
    path = clean(name, limit)
    if WHITEOUT not in path:
        return Target(path, Meaning.MAKE)
    *parents, base = path.split(b"/")
    directory = b"/".join(parents)
    if any(part.startswith(_PRIVATE) for part in parents):
        return Target(path, Meaning.NOTHING)
    if any(part.startswith(WHITEOUT) for part in parents):
        raise DataLossError("a whiteout is used as a directory")
    if base == OPAQUE:
        return Target(directory, Meaning.HIDE_ALL_IN)
    if base.startswith(_PRIVATE):
        return Target(path, Meaning.NOTHING)
    if not base.startswith(WHITEOUT):
        return Target(path, Meaning.MAKE)
    hidden = base.removeprefix(WHITEOUT)
    if hidden in _NOWHERE:
        raise DataLossError("a whiteout of nothing")
    return Target(b"/".join([*parents, hidden]), Meaning.HIDE)
