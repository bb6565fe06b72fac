"""Networks by CNI plugins, as their specification has it (1.1.0, and 0.3.0 to 1.0.0).

A directory holds network configurations; the first valid one, by file name, is in force: a name and
a chain of plugins, which are programs. For each pod the chain is run with ADD, each plugin given
the result of the one before it, and in reverse with DEL.

What keeps addresses from leaking, whenever the daemon dies and whatever plugins do:

- A record says that a pod's ADD begins before the first plugin starts, with all that a DEL needs:
  the plugins as they were configured then, the arguments, and as soon as there is one the result.
- A plugin that a killed daemon left at work is ended before anything else happens.
- Each ADD that fails, is cancelled or cut off is followed by a DEL of the whole chain. Every
  plugin gets its turn even if another one fails, so that a broken one keeps no other's address; the
  record goes when all have succeeded. Until then DEL is tried again, by this daemon and the next.
- A sandbox without a record gets a DEL of the configuration in force.

A plugin that hangs is killed with all it has started; an error names plugin and verb, and quotes
what the plugin printed. The loopback interface is up before any plugin runs, so `loopback` plugins
are left out.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

VERSIONS: Final = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The versions of the specification that are spoken here, oldest first."""

INTERFACE: Final = "eth0"
"""What pods call their interface."""


def since(version: str, first: str) -> bool:
    """Tell whether a spoken version has what came with version `first`."""
    return VERSIONS.index(version) >= VERSIONS.index(first)


class Verb(enum.StrEnum):
    """What a plugin is asked to do."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    STATUS = "STATUS"
    GC = "GC"
    VERSION = "VERSION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin of a chain: the program's name and its configuration, as JSON.

    `capabilities` names what it wants to be told of each pod.
    """

    type: str
    document: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A network configuration. `versions` are the spoken ones it allows, oldest first."""

    name: str
    versions: tuple[str, ...]
    plugins: tuple[Plugin, ...]
    checks: bool = True
    collects: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A configuration that is in force: the file it came from, the version that is spoken."""

    source: str
    configuration: Configuration
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a verb is about: a pod, the path of its namespace, and CNI_ARGS."""

    container_id: str
    netns: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One start of a plugin: `document` is what it reads, `purpose` completes "cannot ..."."""

    plugin: str
    verb: Verb
    document: str
    purpose: str
    target: Target | None = None

    @property
    def problem(self) -> str:
        """How an error of it begins."""
        return f"cannot {self.purpose}: plugin {self.plugin} {self.verb}"


class Plugins(Protocol):
    """The plugins of this node."""

    def missing(self, types: Sequence[str]) -> str:
        """Say which of the plugins are not there, and where they should be; "" if none. Blocks."""
        ...

    def end(self, sandbox_ids: Collection[str]) -> None:
        """Kill what a daemon that died still runs for these sandboxes, and see it gone. Blocks."""
        ...

    async def call(self, call: Call) -> str:
        """Run a plugin to its end and return what it printed; never leaves a process behind.

        Raises:
            DeadlineExceededError: it did not end in time, and was killed.
            ResourceExhaustedError: it has no address left.
            UnavailableError: it asks to be called again later.
            FailedPreconditionError: it is not there or can not be started.
            Error: it failed. Every text begins with `call.problem` and quotes the plugin.
        """
        ...
