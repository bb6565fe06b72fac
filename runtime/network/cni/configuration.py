"""Network configurations out of JSON: pure."""

import json
import re
from typing import Final

from runtime.network.cni import VERSIONS, Configuration, Json, Plugin
from store.errors import InvalidArgumentError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_TYPE: Final = re.compile(r"(?!\.{1,2}$)[^/\\\0]{1,255}")
_LOOPBACK: Final = "loopback"
_FLAGS: Final = {"true": True, "false": False}


def parse(data: bytes) -> Configuration | None:
    """Return a configuration list, or a single plugin's configuration as a list of one.

    None stands for one that only sets up loopback, which needs no plugin here. The chain may be
    empty: plugins can come from other files, too (`inlined`).

    Raises:
        InvalidArgumentError: says what is wrong.
    """
    document = _object(_decoded(data), "the configuration")
    entries = _entries(document)
    plugins = [parse_plugin(entry) for entry in entries]
    wanted = tuple(plugin for plugin in plugins if plugin.type != _LOOPBACK)
    if plugins and not wanted:
        return None
    return Configuration(
        name=_matching(document, "name", _NAME),
        versions=_versions(document),
        plugins=wanted,
        checks=not _flag(document, "disableCheck"),
        collects=not _flag(document, "disableGC"),
    )


def inlined(data: bytes) -> bool:
    """Tell whether a valid configuration wants no plugins of other files added."""
    document = _object(_decoded(data), "the configuration")
    return _single(document) or _flag(document, "loadOnlyInlinedPlugins")


def parse_plugin(value: Json) -> Plugin:
    """Return one plugin's configuration, without the keys that only a runtime may set.

    Raises:
        InvalidArgumentError: says what is wrong.
    """
    document = _object(value, "a plugin")
    passed = {key: each for key, each in document.items() if not key.startswith("cni.dev/")}
    return Plugin(
        type=_matching(document, "type", _TYPE),
        document=json.dumps(passed),
        capabilities=_capabilities(document),
    )


def parse_plugin_file(data: bytes) -> Plugin:
    """Return the plugin's configuration that a file holds.

    Raises:
        InvalidArgumentError: says what is wrong.
    """
    return parse_plugin(_decoded(data))


def _decoded(data: bytes) -> Json:
    try:
        document: Json = json.loads(data)
        json.dumps(document, allow_nan=False)  # what can not be written can not be passed on
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"no JSON: {error}") from error
    return document


def _single(document: dict[str, Json]) -> bool:
    return "plugins" not in document and "type" in document


def _entries(document: dict[str, Json]) -> list[Json]:
    if _single(document):
        return [document]
    if "plugins" not in document:
        return []
    plugins = document["plugins"]
    if not isinstance(plugins, list) or not plugins:
        raise InvalidArgumentError("plugins must be a list with at least one plugin")
    return plugins


def _versions(document: dict[str, Json]) -> tuple[str, ...]:
    declared = document.get("cniVersions", [])
    if not isinstance(declared, list):
        raise InvalidArgumentError("cniVersions must be a list")
    every = {str(version) for version in (*declared, document.get("cniVersion", ""))} - {""}
    spoken = tuple(version for version in VERSIONS if version in every)
    if not spoken:
        raise InvalidArgumentError(
            f"cniVersion is {', '.join(sorted(every)) or 'missing'}; {VERSIONS[0]} to "
            f"{VERSIONS[-1]} can be used"
        )
    return spoken


def _capabilities(document: dict[str, Json]) -> tuple[str, ...]:
    declared = _object(document.get("capabilities") or {}, "capabilities")
    return tuple(sorted(name for name, wanted in declared.items() if wanted is True))


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{what} must be an object")
    return value


def _matching(document: dict[str, Json], key: str, pattern: re.Pattern[str]) -> str:
    value = document.get(key)
    if value is None:
        raise InvalidArgumentError(f"{key} is missing")
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidArgumentError(f"{key} can not be {str(value)[:80]!r}")
    return value


def _flag(document: dict[str, Json], key: str) -> bool:
    """Read a switch, which some write as a string."""
    value = document.get(key, False)
    if isinstance(value, str):
        value = _FLAGS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{key} must be true or false")
    return value
