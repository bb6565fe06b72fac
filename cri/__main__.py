"""`ferryd`: the daemon, and `ferryd config`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cri.config import Config
from cri.config.load import Loaded, load
from cri.config.text import default_toml, dump
from runtime import doctor
from store.errors import Error

_VERBS: Final = {
    "default": "print every option with its default and a line of why",
    "check": "check the configuration and the programs of this node",
    "dump": "print the configuration in force, and where each value came from",
}
_FLAGS: Final = ("root", "state", "address", "log_level")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ferryd` and return its exit code."""
    options = _parser().parse_args(arguments)
    chosen = {name: getattr(options, name) for name in _FLAGS if getattr(options, name)}

    def read() -> Loaded:
        return load(options.config, {"daemon": chosen} if chosen else None)

    try:
        return _run(getattr(options, "verb", None), read)
    except Error as error:
        sys.stderr.write(f"ferryd: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ferryd", description="ferry's daemon: speaks CRI.")
    parser.add_argument("--config", type=Path, help="main file (default /etc/ferry/config.toml)")
    parser.add_argument("--root", help="what must survive a reboot (default /var/lib/ferry)")
    parser.add_argument("--state", help="what must not survive one (default /run/ferry)")
    parser.add_argument("--address", help="the socket to serve on (default STATE/ferry.sock)")
    parser.add_argument("--log-level", help="debug, info, warning or error")
    commands = parser.add_subparsers(dest="command", metavar="config")
    config = commands.add_parser("config", help="about the configuration")
    verbs = config.add_subparsers(dest="verb", required=True)
    for verb, text in _VERBS.items():
        verbs.add_parser(verb, help=text)
    return parser


def _run(verb: str | None, read: Callable[[], Loaded]) -> int:
    match verb:
        case "default":
            sys.stdout.write(default_toml())
        case "dump":
            sys.stdout.write(dump(read()))
        case "check":
            return _check(read().config)
        case _:
            from cri import daemon  # noqa: PLC0415 - `ferryd config` needs none of it

            daemon.run(read)
    return 0


def _check(config: Config) -> int:
    from cri import node  # noqa: PLC0415 - starts programs, which the other verbs do not

    found = asyncio.run(node.equipment(config))
    findings = node.findings(found)
    sys.stdout.write("configuration: valid\n")
    for finding in findings:
        mend = f"; {finding.mend}" if finding.mend else ""
        sys.stdout.write(f"{finding.grade.value:8} {finding.subject}: {finding.text}{mend}\n")
    return 1 if any(finding.grade is doctor.Grade.BROKEN for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
