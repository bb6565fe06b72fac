"""Reading the configuration: layers of tables, the last one to name a key wins.

Layers are, from weak to strong: the defaults, the main file, the files of its `conf.d` directory
in the order of their names, and the command line. Everything from parsed tables to a `Config` is
pure; only `read_files` touches the disk.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast, get_type_hints

from cri.config import DEFAULT_FILE, Config, Runtime, Runtimes
from cri.config.fields import Option, nearest, options, read
from store.errors import InvalidArgumentError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

DEFAULT: Final = "default"
"""The origin of values that nobody set."""

COMMAND_LINE: Final = "command line"
"""The origin of values that came as flags."""

SECTIONS: Final[Mapping[str, type["DataclassInstance"]]] = get_type_hints(Config)
# What a RuntimeClass may name: a DNS label.
_HANDLER: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_AUTO: Final = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source of settings: `origin` is a path or `COMMAND_LINE`, `tables` what TOML gives."""

    origin: str
    tables: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A checked value and where it came from."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration; `settings` has every key that somebody set, as `section.key`."""

    config: Config
    settings: Mapping[str, Setting]

    def origin(self, key: str) -> str:
        """Return which file, or `COMMAND_LINE`, or `DEFAULT`, decided a key."""
        return self.settings[key].origin if key in self.settings else DEFAULT


def load(file: Path | None = None, flags: Mapping[str, object] | None = None) -> Loaded:
    """Read the configuration of this node.

    Args:
        file: the main file, which must exist; None is `DEFAULT_FILE`, which need not.
        flags: tables as in a file (`{"daemon": {"root": ...}}`), stronger than any.

    Raises:
        InvalidArgumentError: names file, key and the nearest valid name.
    """
    layers = read_files(file or DEFAULT_FILE, required=file is not None)
    return build((*layers, Layer(origin=COMMAND_LINE, tables=flags or {})))


def read_files(file: Path, *, required: bool) -> tuple[Layer, ...]:
    """Read `file` and the `*.toml` of the `conf.d` beside it, weakest first."""
    found = [file] if required or file.exists() else []
    return tuple(_read(path) for path in (*found, *sorted((file.parent / "conf.d").glob("*.toml"))))


def _read(path: Path) -> Layer:
    try:
        return Layer(origin=str(path), tables=tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidArgumentError(f"{path}: cannot read it: {error.strerror}") from error
    except ValueError as error:  # tomllib's and UnicodeDecodeError are both of this kind
        raise InvalidArgumentError(f"{path}: not valid TOML: {error}") from error


def build(layers: Iterable[Layer]) -> Loaded:
    """Merge layers, weakest first, key by key, and check the result; pure."""
    settings: dict[str, Setting] = {}
    for layer in layers:
        settings.update(_settings(layer))
    plain = {name: _section(name, kind, settings) for name, kind in SECTIONS.items()}
    config = _make(Config, {**plain, "runtimes": _runtimes(settings)})
    loaded = Loaded(config=config, settings=settings)
    _check(loaded)
    return loaded


def _settings(layer: Layer) -> Iterator[tuple[str, Setting]]:
    for section, table in layer.tables.items():
        if section not in SECTIONS:
            raise _unknown(layer, section, SECTIONS)
        yield from _table(layer, section, table, SECTIONS[section])


def _table(layer: Layer, path: str, table: object, kind: type) -> Iterator[tuple[str, Setting]]:
    known = options(kind)
    for key, value in _entries(layer, path, table).items():
        where = f"{path}.{key}"
        if key in known:
            yield where, _setting(layer, where, known[key], value)
        elif kind is Runtimes and isinstance(value, dict) and _HANDLER.fullmatch(key):
            yield from _handler(layer, where, value)
        else:
            raise _unknown(layer, where, (f"{path}.{name}" for name in known))


def _handler(layer: Layer, path: str, table: object) -> Iterator[tuple[str, Setting]]:
    yield path, Setting(value=Runtime(), origin=layer.origin)  # an empty table declares it, too
    yield from _table(layer, path, table, Runtime)


def _entries(layer: Layer, path: str, table: object) -> Mapping[str, object]:
    if not isinstance(table, Mapping):
        raise InvalidArgumentError(f"{layer.origin}: {path}: must be a table, [{path}]")
    return cast("Mapping[str, object]", table)


def _setting(layer: Layer, where: str, wanted: Option, value: object) -> Setting:
    try:
        return Setting(value=read(wanted, value), origin=layer.origin)
    except ValueError as error:
        raise InvalidArgumentError(f"{layer.origin}: {where}: {error}") from error


def _unknown(layer: Layer, where: str, siblings: Iterable[str]) -> InvalidArgumentError:
    everything = (f"{name}.{key}" for name, kind in SECTIONS.items() for key in options(kind))
    meant = nearest(where, siblings, everything)
    return InvalidArgumentError(f"{layer.origin}: {where}: no such option; the nearest is {meant}")


def _section(path: str, kind: type[S], settings: Mapping[str, Setting]) -> S:
    known = {name: f"{path}.{name}" for name in options(kind)}
    return _make(kind, {name: settings[k].value for name, k in known.items() if k in settings})


def _make(kind: type[S], values: Mapping[str, object]) -> S:
    return dataclasses.replace(kind(), **values)


def _runtimes(settings: Mapping[str, Setting]) -> Runtimes:
    plain = _section("runtimes", Runtimes, settings)
    declared = [key for key, setting in settings.items() if isinstance(setting.value, Runtime)]
    names = dict.fromkeys([*plain.handlers, *(key.split(".")[1] for key in declared)])
    handlers = {name: _section(f"runtimes.{name}", Runtime, settings) for name in names}
    return dataclasses.replace(plain, handlers=handlers)


def _check(loaded: Loaded) -> None:
    """Refuse what only goes wrong in combination."""
    runtimes = loaded.config.runtimes
    if runtimes.default not in {_AUTO, *runtimes.handlers}:
        where = f"{loaded.origin('runtimes.default')}: runtimes.default"
        meant = nearest(runtimes.default, [_AUTO, *runtimes.handlers])
        raise InvalidArgumentError(
            f"{where}: no [runtimes.{runtimes.default}]; the nearest is {meant}"
        )
    if loaded.config.daemon.root == loaded.config.daemon.state:
        where = f"{loaded.origin('daemon.state')}: daemon.state"
        raise InvalidArgumentError(f"{where}: must not be the same directory as daemon.root")
