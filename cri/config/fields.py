"""Options of the configuration: how one is declared, read from TOML, and written back.

An option is a dataclass field made by `option`; its type, default, reason and check are all that
the loader and the generated documentation use, so they cannot drift apart.
"""

import dataclasses
import difflib
import enum
import ipaddress
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

Problem = str
"""What is wrong with a value, to follow the key in a message; empty when nothing is."""

_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path as a string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key of a section: what may be written there and why one would."""

    name: str
    kind: object
    default: object
    why: str
    check: Callable[[object], Problem]
    live: bool


def option(
    default: T,
    why: str,
    *,
    check: Callable[[T], Problem] | None = None,
    live: bool = False,
) -> T:
    """Declare an option as a dataclass field.

    Args:
        default: used when no file and no flag says otherwise.
        why: one sentence for whoever edits the file, units included.
        check: returns what is wrong with a value of the right type.
        live: a change takes effect on reload, without a restart.
    """
    metadata = {"why": why, "check": check or (lambda _: ""), "live": live}
    return dataclasses.field(default=default, metadata=metadata)


def options(section: type) -> dict[str, Option]:
    """Return the options of a section's dataclass by name, in their order."""
    hints = get_type_hints(section)
    return {
        field.name: Option(
            name=field.name,
            kind=hints[field.name],
            default=field.default,
            why=field.metadata["why"],
            check=field.metadata["check"],
            live=field.metadata["live"],
        )
        for field in dataclasses.fields(section)
        if "why" in field.metadata
    }


def read(wanted: Option, value: object) -> object:
    """Turn what TOML gave into the option's type.

    Raises:
        ValueError: it has another type, or the option's check refuses it; says what is wanted.
    """
    result = _read(wanted.kind, value)
    if problem := wanted.check(result):
        raise ValueError(problem)
    return result


def _read(kind: object, value: object) -> object:
    if get_origin(kind) is tuple:
        return _read_list(get_args(kind)[0], value)
    assert isinstance(kind, type)  # noqa: S101 - sections declare nothing else
    if issubclass(kind, enum.StrEnum):
        return _read_choice(kind, value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not (str if kind is Path else kind):
        raise ValueError(f"must be {_KINDS[kind]}, not {_shown(value)}")
    return Path(str(value)) if kind is Path else value


def _read_list(kind: object, value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not {_shown(value)}")  # noqa: TRY004 - one kind of error
    items = cast("list[object]", value)
    return tuple(_read(kind, item) for item in items)


def _read_choice(kind: type[enum.StrEnum], value: object) -> enum.StrEnum:
    try:
        return kind(str(value))
    except ValueError:
        choices = ", ".join(json.dumps(member.value) for member in kind)
        raise ValueError(f"must be one of {choices}, not {_shown(value)}") from None


def _shown(value: object) -> str:
    return f"{str(value)[:80]!r} ({type(value).__name__})"


def write(value: object) -> str:
    """Return a value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            items = cast("tuple[object, ...]", value)
            return f"[{', '.join(write(item) for item in items)}]"
        case _:
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def at_least(least: float) -> Callable[[float], Problem]:
    """Return a check for finite numbers that must not be smaller."""

    def check(value: float) -> Problem:
        fits = math.isfinite(value) and value >= least
        return "" if fits else f"must be at least {least:g}, not {value:g}"

    return check


def absolute(path: Path) -> Problem:
    """Check that a path does not depend on where the daemon was started."""
    return "" if path.is_absolute() and ".." not in path.parts else "must be an absolute path"


def all_absolute(paths: tuple[Path, ...]) -> Problem:
    """Check a list of paths with `absolute`."""
    return next((f"{path}: {problem}" for path in paths if (problem := absolute(path))), "")


def networks(values: tuple[str, ...]) -> Problem:
    """Check for one network, or one of each family (dual stack)."""
    try:
        versions = [ipaddress.ip_network(value).version for value in values]
    except ValueError as error:
        return str(error)
    alone = len(versions) == len(set(versions))
    return "" if versions and alone else "must be one network, or one IPv4 and one IPv6 network"


def addresses(values: tuple[str, ...]) -> Problem:
    """Check a list of IP addresses."""
    for value in values:
        try:
            ipaddress.ip_address(value)
        except ValueError as error:
            return str(error)
    return ""


def nearest(name: str, siblings: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return the valid name that `name` was most likely meant to be.

    A key in the wrong section is found by its last part, if no sibling resembles it.
    """
    siblings = list(siblings)
    if close := difflib.get_close_matches(name, siblings, n=1, cutoff=0.75):
        return close[0]
    last = {key.rsplit(".", 1)[-1]: key for key in elsewhere}
    if close := difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.75):
        return last[close[0]]
    return difflib.get_close_matches(name, siblings, n=1, cutoff=0.0)[0]
