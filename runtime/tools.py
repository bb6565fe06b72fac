"""The node's programs: where each was found, which version it is, and how to mend what is missing.

A program is looked for where the configuration says, then in the private prefix, then in PATH.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime import process
from store.errors import Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A program ferry may use: the oldest version that works, and what fails without it."""

    name: str
    minimum: str = ""
    needed_for: str = ""
    required: bool = False
    version_option: str = "--version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What was found. `path` is None where nothing was; `problem` is empty where all is well."""

    name: str
    path: Path | None = None
    version: str = ""
    problem: str = ""
    mend: str = ""
    required: bool = False

    def line(self) -> str:
        """Return one line for people."""
        found = f"{self.name} {self.version or '?'} at {self.path}" if self.path else self.name
        return f"{found}: {self.problem}; {self.mend}" if self.problem else found


WANTED: Final[tuple[Want, ...]] = (
    Want(name="conmon", minimum="2.1.10", needed_for="every container", required=True),
    Want(name="crun", minimum="1.14", needed_for="the handler crun"),
    Want(name="runc", minimum="1.1.12", needed_for="the handler runc"),
    Want(name="catatonit", minimum="0.1.7", needed_for="pods that share a PID namespace"),
    Want(name="nft", minimum="1.0", needed_for="the built-in network", required=True),
    Want(name="criu", minimum="4.1", needed_for="checkpoints"),
)
_PACKAGES: Final = {"nft": "nftables"}
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")
_TIMEOUT: Final = 5.0


def find(name: str, prefix: Path) -> Path | None:
    """Return the path of a program that is named by a path or looked for by its name."""
    if "/" in name:
        return Path(name) if shutil.which(name) else None
    for place in (prefix / "bin", prefix / "sbin"):
        if shutil.which(name, path=str(place)):
            return place / name
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def search_path() -> str:
    """Return PATH and the places of system programs that a service's PATH may lack."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


async def survey(configured: Mapping[str, str], prefix: Path) -> dict[str, Tool]:
    """Return what this node has of every wanted program, by name. Starts each once."""
    found: dict[str, Tool] = {}

    async def one(want: Want) -> None:
        found[want.name] = await _look(want, configured.get(want.name) or want.name, prefix)

    async with asyncio.TaskGroup() as group:
        for want in WANTED:
            group.create_task(one(want))
    return {want.name: found[want.name] for want in WANTED}


async def _look(want: Want, configured: str, prefix: Path) -> Tool:
    path = find(configured, prefix)
    if path is None:
        return Tool(
            name=want.name,
            problem=f"missing: needed for {want.needed_for}",
            mend=_mend(want),
            required=want.required,
        )
    version = await _version(path, want.version_option)
    problem = ""
    if not version:
        problem = "does not tell its version"
    elif want.minimum and parts(version) < parts(want.minimum):
        problem = f"too old: {want.minimum} or newer is needed for {want.needed_for}"
    return Tool(
        name=want.name,
        path=path,
        version=version,
        problem=problem,
        mend=_mend(want) if problem else "",
        required=want.required,
    )


def _mend(want: Want) -> str:
    package = _PACKAGES.get(want.name, want.name)
    return f"install it with `apt-get install {package}` or deploy/install-tools.sh"


async def _version(path: Path, option: str) -> str:
    try:
        done = await process.run((str(path), option), timeout=_TIMEOUT, limit=64 << 10)
    except (Error, OSError):
        return ""
    match = _VERSION.search((done.stdout or done.stderr).decode(errors="replace"))
    return match[0] if match else ""


def parts(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare."""
    return tuple(int(part) for part in version.split("."))
