"""`ferryd`: the daemon, and `ferryd config`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cri.config import Config
from cri.config.load import Loaded, load
from cri.config.text import default_toml, dump
from cri.version import VERSION
from runtime import doctor
from store.errors import Error, PermissionDeniedError

_VERBS: Final = {
    "default": "print every option with its default and a line of why",
    "check": "check the configuration and the programs of this node; 1 if pods could not run",
    "dump": "print the configuration in force, and where each value came from",
}
_FLAGS: Final = {
    "config": "main file (default /etc/ferry/config.toml); conf.d/*.toml beside it is read, too",
    "root": "what must survive a reboot (default /var/lib/ferry)",
    "state": "what must not survive one (default /run/ferry)",
    "address": "the socket to serve on (default STATE/ferry.sock)",
    "log-level": "debug, info, warning or error",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ferryd` and return its exit code: 1 for what it cannot do, 2 for bad usage."""
    options = vars(_parser().parse_args(arguments))
    file = Path(options["config"]) if "config" in options else None
    names = (flag.replace("-", "_") for flag in _FLAGS if flag != "config")
    chosen = {name: options[name] for name in names if name in options}

    def read() -> Loaded:
        return load(file, {"daemon": chosen} if chosen else None)

    try:
        return _run(options.get("verb"), read)
    except (Error, OSError) as error:
        sys.stderr.write(f"ferryd: {error}\n")
    except ExceptionGroup as group:  # what ended the tasks of a daemon that was up, or nearly
        if group.split((Error, OSError))[1] is not None:
            raise
        sys.stderr.writelines(f"ferryd: {error}\n" for error in _leaves(group))
    return 1


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for flag, text in _FLAGS.items():
        flags.add_argument(f"--{flag}", help=text)
    parser = argparse.ArgumentParser(
        prog="ferryd", description="ferry's daemon: speaks CRI.", parents=[flags]
    )
    parser.add_argument("--version", action="version", version=f"ferryd {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="config")
    config = commands.add_parser("config", help="about the configuration")
    verbs = config.add_subparsers(dest="verb", required=True)
    for verb, text in _VERBS.items():
        verbs.add_parser(verb, help=text, description=text, parents=[flags])
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
            _serve(read)
    return 0


def _serve(read: Callable[[], Loaded]) -> None:
    if os.geteuid() != 0:
        raise PermissionDeniedError("cannot run containers: ferryd must run as root")
    from cri import daemon  # noqa: PLC0415 - `ferryd config` needs none of it

    daemon.run(read)


def _check(config: Config) -> int:
    from cri import node  # noqa: PLC0415 - starts programs, which the other verbs do not

    found = asyncio.run(node.equipment(config))
    findings = node.findings(found)
    sys.stdout.write("configuration: valid\n")
    for finding in findings:
        sys.stdout.write(f"{finding.grade.value:8} {finding.line()}\n")
    return 1 if any(finding.grade is doctor.Grade.BROKEN for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
