"""The directory of network configurations: which one is in force, and what is wrong with others.

Files are taken in the order of their names. The first that is valid is in force; those that are not
are named, so that a bad file never goes unnoticed. A configuration list may get further plugins
from a directory of its network's name (`loadOnlyInlinedPlugins`). Everything here blocks.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runtime.network.cni import Configuration, Plugin
from runtime.network.cni.configuration import inlined, parse, parse_plugin_file
from store.errors import InvalidArgumentError

_SUFFIXES: Final = frozenset({".conf", ".conflist", ".json"})
_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the directory holds: the first valid configuration and its file, and the bad files."""

    source: str = ""
    configuration: Configuration | None = None
    problems: tuple[str, ...] = ()


def read(directory: Path) -> Reading:
    """Return what is in force; a directory that is missing holds nothing."""
    problems: list[str] = []
    try:
        for path in _files(directory, _SUFFIXES):
            try:
                found = _load(path)
            except (InvalidArgumentError, OSError) as error:
                problems.append(f"cannot use {path}: {_words(error)}")
                continue
            if found is not None:
                return Reading(source=path.name, configuration=found, problems=tuple(problems))
    except OSError as error:
        problems.append(f"cannot read {directory}: {_words(error)}")
    return Reading(problems=tuple(problems))


def present(directory: Path) -> bool:
    """Tell whether somebody has put a network configuration here, be it good or bad."""
    found = read(directory)
    return found.configuration is not None or bool(found.problems)


def _load(path: Path) -> Configuration | None:
    data = _content(path)
    found = parse(data)
    if found is None:
        return None
    if not inlined(data):
        plugins = (*found.plugins, *_added(path.parent / found.name))
        found = replace(found, plugins=plugins)
    if not found.plugins:
        raise InvalidArgumentError("it has no plugins")
    return found


def _added(directory: Path) -> Iterator[Plugin]:
    for path in _files(directory, frozenset({".conf"})):
        try:
            yield parse_plugin_file(_content(path))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{path}: {error}") from error


def _files(directory: Path, suffixes: frozenset[str]) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(
            path for path in directory.iterdir() if path.suffix in suffixes and not path.is_dir()
        )
    return []


def _content(path: Path) -> bytes:
    # Somebody may have put a FIFO there: opening it must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArgumentError("it is no file")
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise InvalidArgumentError(f"it is larger than {_LIMIT} bytes")
    return data


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
