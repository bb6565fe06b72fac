"""Reading, killing and removing by path: what both cgroup versions share.

A cgroup may vanish between any two system calls. Opening a file of one that is gone says ENOENT,
reading from an open one ENODEV; both mean "not there" and never more than that.
"""

import errno
import os
import posixpath
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from runtime.cgroups import Pressure, text
from store.errors import Error, FailedPreconditionError, InvalidArgumentError

_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})
_CHUNK: Final = 65536
_ROUNDS: Final = 200
_FREEZE_FROM: Final = 3
_PAUSE: Final = 0.005
_REMOVE_TRIES: Final = 20


def below(root: str, directory: str) -> str:
    """Return `directory` below `root`; the root itself and ways out of it are refused.

    Raises:
        InvalidArgumentError: the directory is not a clean path to something below a root.
    """
    path = "/" + directory.strip("/")
    if path == "/" or posixpath.normpath(path) != path or "\0" in path:
        raise InvalidArgumentError(f"cannot use cgroup {directory!r}: not a clean path")
    return f"{root}{path}"


def read_text(path: str) -> str | None:
    """Return what a cgroup file says, or None if the file or its cgroup is not there.

    Text paths and three system calls, no layers: a list of statistics reads some ten files for
    each of a thousand cgroups.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _GONE or error.errno == errno.EOPNOTSUPP:
            return None
        raise Error(f"cannot read {path}: {error.strerror}") from error


def _read_all(descriptor: int) -> str:
    """Read to the end; a short read is the end of a kernel file, all but the longest fit in one."""
    chunk = content = os.read(descriptor, _CHUNK)
    while len(chunk) == _CHUNK:
        chunk = os.read(descriptor, _CHUNK)
        content += chunk
    return content.decode("ascii", "replace")


def read_int(path: str) -> int | None:
    """Return the file's only number; None for `max`, for anything else and if it is gone."""
    word = (read_text(path) or "").strip()
    return int(word) if word.removeprefix("-").isdigit() else None


def read_numbers(paths: Mapping[str, str]) -> dict[str, int]:
    """Return the only number of each file, by the names given; without those that have none."""
    found = {name: read_int(path) for name, path in paths.items()}
    return {name: value for name, value in found.items() if value is not None}


def read_pressure(path: str) -> Pressure | None:
    """Return what a pressure file says; None where the kernel has none."""
    content = read_text(path)
    return text.pressure(content) if content else None


def read_table(path: str) -> dict[str, int]:
    """Return the file's `name value` lines; empty if it is gone."""
    return text.table(read_text(path) or "")


def picked(table: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Return `{new: table[old]}` for those of `names` (`new: old`) that the table has."""
    return {new: table[old] for new, old in names.items() if old in table}


def write(path: str, value: str) -> bool:
    """Write with one system call; False if the file or its cgroup is not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise Error(f"cannot write {value!r} to {path}: {error.strerror}") from error
    return True


def _descendants(top: str) -> Iterator[str]:
    """Yield every cgroup at and below, children before parents."""
    try:
        children = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in _GONE:
            return
        raise Error(f"cannot list cgroup {top}: {error.strerror}") from error
    for child in children:
        yield from _descendants(child)
    yield top


def processes(tops: Iterable[str]) -> list[int]:
    """Return the processes at and below, sorted; those of other PID namespaces read as 0."""
    found = {
        int(pid)
        for top in tops
        for cgroup in _descendants(top)
        for pid in (read_text(f"{cgroup}/cgroup.procs") or "").split()
    }
    return sorted(found - {0})


def _kill_round(members: Callable[[], list[int]], killed: set[int]) -> bool:
    """Kill who is in now; True if that were all only such that an earlier round has killed.

    A pidfd is opened first and the list read again after it: a number that was reused in between
    by a process elsewhere is no longer on the list, so nobody outside is ever hit.
    """
    handles: dict[int, int] = {}
    try:
        for pid in members():
            try:
                handles[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        present = set(members())
        for pid, handle in handles.items():
            if pid in present:
                try:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                except ProcessLookupError:
                    continue
    finally:
        for handle in handles.values():
            os.close(handle)
    done = present <= killed
    killed |= present & handles.keys()
    return done


def kill_all(members: Callable[[], list[int]], freeze: Callable[[bool], None], name: str) -> None:
    """Kill until a reading shows nobody but the already killed, who can fork no more.

    The freezer is asked for only when plain rounds do not converge (a fork bomb): on v1 it may
    take 100 ms.

    Raises:
        Error: new processes kept appearing.
    """
    killed: set[int] = set()
    for attempt in range(_ROUNDS):
        frozen = attempt >= _FREEZE_FROM
        if frozen:
            freeze(True)  # noqa: FBT003 - a switch's position
        try:
            done = _kill_round(members, killed)
        finally:
            if frozen:
                freeze(False)  # noqa: FBT003 - a switch's position
        if done:
            return
    raise Error(f"cannot kill cgroup {name}: new processes keep appearing in it")


def remove_tree(top: str) -> None:
    """Remove the empty cgroup and its children.

    A process that has just died may hold its cgroup for some milliseconds more.

    Raises:
        FailedPreconditionError: processes are in it; names them.
    """
    for cgroup in _descendants(top):
        for attempt in range(_REMOVE_TRIES):
            try:
                Path(cgroup).rmdir()
            except OSError as error:
                if error.errno in _GONE:
                    break
                if error.errno != errno.EBUSY:
                    raise Error(f"cannot remove cgroup {cgroup}: {error.strerror}") from error
                pids = processes([cgroup])
                if pids or attempt == _REMOVE_TRIES - 1:
                    raise FailedPreconditionError(
                        f"cannot remove cgroup {cgroup}: it holds the processes {pids}"
                    ) from error
                time.sleep(_PAUSE)
            else:
                break
