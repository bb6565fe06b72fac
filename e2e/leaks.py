"""What a node holds, before and after: whatever is there more than before, has leaked.

A snapshot sees mounts, processes, cgroups, interfaces, packet filter rules and files. It is meant
for a scope (`tests/scope.sh`), whose node is empty but for the test; elsewhere it leaves out what
belongs to other scopes.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from e2e.processes import parent

_CGROUPS: Final = Path("/sys/fs/cgroup")
_FILE_DEPTH: Final = 4
# Databases keep their own files; a journal that comes or goes is no leak.
_JOURNALS: Final = ("-wal", "-shm", "-journal")
_VOLATILE: Final = frozenset({"handle", "packets", "bytes", "expires"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Names of what is there, by kind."""

    things: Mapping[str, frozenset[str]]

    @classmethod
    def take(cls, *folders: Path, pid: int = 0, processes: bool = True) -> Self:
        """Look at the node, at `folders`, and at what the daemon `pid` holds open."""
        return cls(
            {
                "mount": frozenset(_mounts()),
                "process": frozenset(_processes() if processes else ()),
                "cgroup": frozenset(_cgroups()),
                "interface": frozenset(_interfaces()),
                "rule": frozenset(_rules()),
                "file": frozenset(_files(folders)),
                "descriptor": frozenset(_descriptors(pid)),
            }
        )

    def more_than(self, before: Self) -> list[str]:
        """Return a line for each thing that `before` did not have."""
        return [
            f"{kind}: {thing}"
            for kind, things in self.things.items()
            for thing in sorted(things - before.things[kind])
        ]


async def leaks(
    before: Snapshot,
    *folders: Path,
    pid: int = 0,
    processes: bool = True,
    seconds: float = 10,
) -> list[str]:
    """Return what is left more than `before`, once nothing is or `seconds` are over.

    A daemon answers before the last file is gone; nothing tells when it is, so this looks again.
    """
    deadline = time.monotonic() + seconds
    while left := Snapshot.take(*folders, pid=pid, processes=processes).more_than(before):
        if time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.05)
    return []


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind, source = fields[fields.index("-") + 1 :][:2]
        yield f"{fields[4]} ({kind} {source} {fields[3] if kind == 'nsfs' else ''})"


def _processes() -> Iterator[str]:
    """Yield the processes of this mount namespace's tree, but for this one and its ancestors."""
    own = set(_ancestors(os.getpid()))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                yield from _process(entry)
            except (FileNotFoundError, ProcessLookupError):
                continue


def _process(entry: Path) -> Iterator[str]:
    cgroups = (entry / "cgroup").read_text()
    paths = [line.split(":", 2)[2] for line in cgroups.splitlines()]
    outside = any(path.startswith(("/..", "/ferry-scope-")) for path in paths)
    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    # Without a command line it is a kernel thread or a zombie, which its parent is about to reap.
    if command and not outside and parent(int(entry.name)) != os.getpid():
        yield f"{entry.name} {command.strip()[:200]}"


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        pid = parent(pid)


def _cgroups() -> Iterator[str]:
    for folder, names, _ in os.walk(_CGROUPS):
        # Another scope's: it has a mount namespace of its own and clears its cgroups itself.
        names[:] = [name for name in names if not name.startswith("ferry-scope-")]
        yield folder


def _interfaces() -> Iterator[str]:
    listing = _json("ip", "-json", "link", "show")
    assert isinstance(listing, list)
    for link in listing:
        yield f"{link['ifname']} {link.get('link_type', '')}"


def _rules() -> Iterator[str]:
    ruleset = _json("nft", "--json", "list", "ruleset")
    assert isinstance(ruleset, dict)
    for item in ruleset["nftables"]:
        ((kind, body),) = item.items()
        if kind == "metainfo":
            continue
        elements = body.pop("elem", ()) if kind in {"set", "map"} else ()
        yield f"{kind} {json.dumps(_stable(body), sort_keys=True)}"
        for element in elements:
            yield f"element of {body['name']}: {json.dumps(_stable(element), sort_keys=True)}"


def _stable(value: object) -> object:
    """Leave out what changes by itself."""
    if isinstance(value, dict):
        return {key: _stable(each) for key, each in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_stable(each) for each in value]
    return value


def _files(folders: Iterable[Path]) -> Iterator[str]:
    for base in folders:
        for folder, names, files in os.walk(base):
            if len(Path(folder).relative_to(base).parts) >= _FILE_DEPTH:
                names.clear()
            for name in (*names, *files):
                if not name.endswith(_JOURNALS):
                    yield str(Path(folder) / name)


def _descriptors(pid: int) -> Iterator[str]:
    """Yield the daemon's descriptors of processes and namespaces, which name what they hold."""
    if not pid:
        return
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target == "anon_inode:[pidfd]":
            information = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
            yield f"pidfd {information.partition('Pid:')[2].split()[0]}"
        elif target.startswith(("net:", "mnt:", "/proc/")):
            yield target


def _json(*argv: str) -> object:
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    result: object = json.loads(output or "[]")
    return result
