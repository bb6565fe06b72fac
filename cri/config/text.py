"""The configuration as text and as a list: for `ferryd config` and for reloads."""

import dataclasses
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cri.config import Config
from cri.config.fields import Option, options, write
from cri.config.load import SECTIONS, Loaded
from runtime.spec import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

_WIDTH = 98


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One option of a configuration: its value now, and what is known of it."""

    section: str
    option: Option
    value: object

    @property
    def key(self) -> str:
        """Its full name, `section.name`."""
        return f"{self.section}.{self.option.name}"


def walk(config: Config) -> Iterator[Entry]:
    """Yield every option, runtime handlers included, in the order of the documentation."""
    for section in SECTIONS:
        yield from _entries(section, getattr(config, section))
        if section == "runtimes":
            for name, handler in config.runtimes.handlers.items():
                yield from _entries(f"runtimes.{name}", handler)


def _entries(section: str, values: object) -> Iterator[Entry]:
    for name, found in options(type(values)).items():
        yield Entry(section=section, option=found, value=getattr(values, name))


def default_toml() -> str:
    """Return a complete file: every option at its default, with the reason to change it."""
    head = (
        "# ferry. Every option is here with its default. Files in conf.d/*.toml beside this one",
        "# are read after it, in the order of their names; flags are stronger than both. A change",
        "# needs a restart of the daemon, unless the option says otherwise; pods outlive it.",
    )
    return "\n".join((*head, *_lines(Config(), _why)))


def dump(loaded: Loaded) -> str:
    """Return what is in force, as a file, with the origin of each value."""
    lines = _lines(loaded.config, lambda entry: [f"# from {loaded.origin(entry.key)}"])
    return "\n".join(lines).lstrip("\n")


def _lines(config: Config, comment: Callable[[Entry], list[str]]) -> Iterator[str]:
    section = ""
    for entry in walk(config):
        if entry.section != section:
            section = entry.section
            yield f"\n[{section}]"
        yield from comment(entry)
        yield f"{entry.option.name} = {write(entry.value)}"
    yield ""


def _why(entry: Entry) -> list[str]:
    when = " A reload is enough to change it." if entry.option.live else ""
    return textwrap.wrap(
        entry.option.why + when, _WIDTH, initial_indent="# ", subsequent_indent="# "
    )


def plain(config: Config) -> dict[str, Json]:
    """Return every option by its full name, as JSON can say it."""
    return {entry.key: _plain(entry.value) for entry in walk(config)}


def _plain(value: object) -> Json:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a reload changed: keys that take effect at once, and keys that want a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """Compare two configurations, key by key."""
    before = {entry.key: entry for entry in walk(old)}
    after = {entry.key: entry for entry in walk(new)}
    keys = [key for key in {**before, **after} if _value(before, key) != _value(after, key)]
    live = tuple(key for key in keys if key in before and key in after and after[key].option.live)
    return Changes(live=live, restart=tuple(key for key in keys if key not in live))


def in_force(running: Config, fresh: Config) -> Config:
    """Return `running` with what `fresh` says of the options that need no restart."""
    return dataclasses.replace(
        running,
        **{name: _in_force(getattr(running, name), getattr(fresh, name)) for name in SECTIONS},
    )


def _in_force(running: S, fresh: S) -> S:
    live = [name for name, found in options(type(running)).items() if found.live]
    return dataclasses.replace(running, **{name: getattr(fresh, name) for name in live})


def _value(entries: dict[str, Entry], key: str) -> object:
    return entries[key].value if key in entries else None
