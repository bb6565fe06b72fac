"""Checks of single values: what is wrong with one, in words that follow the field's name.

An empty answer means that nothing is. Names become file names, lines of files and arguments of
programs further down; what could leave such a place is refused here, whoever sent it.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

Text = Callable[[str], str]
Number = Callable[[int], str]

MAX_NAME: Final = 253
"""The longest name of anything in Kubernetes (a DNS subdomain)."""

MAX_HOSTNAME: Final = 64
"""HOST_NAME_MAX of the kernel."""

MAX_PATH: Final = 4095
"""PATH_MAX without its NUL."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SPACE_OR_CONTROL: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_SHOWN: Final = 80


def optional(check: Text) -> Text:
    """Let an empty value pass."""
    return lambda value: check(value) if value else ""


def name(value: str) -> str:
    """Check a name that may become a part of a path."""
    if problem := _sized(value, MAX_NAME):
        return problem
    if "/" in value or ".." in value or value == ".":
        return f"must not contain '/' or '..': {_shown(value)}"
    return _plain(value)


def identifier(value: str) -> str:
    """Check an id, whole or shortened."""
    if problem := _sized(value, MAX_NAME):
        return problem
    if not _ID.fullmatch(value) or ".." in value:
        return f"must be letters, digits, '-', '_' and single '.': {_shown(value)}"
    return ""


def reference(value: str) -> str:
    """Check an image reference as far as every image store would."""
    return _sized(value, MAX_PATH) or _wordy(value)


def hostname(value: str) -> str:
    """Check a host name."""
    return _sized(value, MAX_HOSTNAME) or name(value) or _wordy(value)


def absolute(value: str) -> str:
    """Check an absolute path."""
    if problem := _sized(value, MAX_PATH):
        return problem
    if not value.startswith("/"):
        return f"must be an absolute path, not {_shown(value)}"
    return _inside(value)


def relative(value: str) -> str:
    """Check a path below a directory that is known elsewhere."""
    if problem := _sized(value, MAX_PATH):
        return problem
    if value.startswith("/"):
        return f"must be a relative path, not {_shown(value)}"
    return _inside(value)


def cgroup(value: str) -> str:
    """Check a cgroup's path; its form is the driver's matter."""
    return _sized(value, MAX_PATH) or _inside(value)


def word(value: str) -> str:
    """Check something that becomes a word of a line, as in resolv.conf."""
    return _sized(value, MAX_NAME) or _wordy(value)


def address(value: str) -> str:
    """Check an IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return f"must be an IP address, not {_shown(value)}"
    return ""


def matches(pattern: str, meaning: str) -> Text:
    """Return a check for a regular expression, explained by `meaning`."""
    compiled = re.compile(pattern)
    return lambda value: "" if compiled.fullmatch(value) else f"must be {meaning}: {_shown(value)}"


def between(least: int, most: int, *also: int) -> Number:
    """Return a check for a range of numbers, and single values beside it."""
    text = f"must be {''.join(f'{value}, ' for value in also)}{least} to {most}"
    return lambda value: "" if least <= value <= most or value in also else f"{text}, not {value}"


def _sized(value: str, most: int) -> str:
    if not value:
        return "must not be empty"
    return f"must have at most {most} characters, not {len(value)}" if len(value) > most else ""


def _plain(value: str) -> str:
    found = _CONTROL.search(value)
    return f"must not contain control characters: {_shown(value)}" if found else ""


def _wordy(value: str) -> str:
    found = _SPACE_OR_CONTROL.search(value)
    return f"must not contain spaces or control characters: {_shown(value)}" if found else ""


def _inside(value: str) -> str:
    if "/../" in f"/{value}/":
        return f"must not contain '..': {_shown(value)}"
    return _plain(value)


def _shown(value: str) -> str:
    return repr(value[:_SHOWN])
