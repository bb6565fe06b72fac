"""CDI devices from directories of files: `/etc/cdi` and, before it in rank, `/var/run/cdi`.

Drivers and device plugins write these files while the daemon runs, so every use looks at the
directories again: a listing and a stat of each file, 0.05 ms for ten. Only what changed is read.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.cdi.document import ContainerEdits, Device, Document, check_name, read
from runtime.cdi.edits import gathered
from runtime.spec import Edits
from store.errors import Error, FailedPreconditionError, InvalidArgumentError, NotFoundError

_log = logging.getLogger(__name__)
_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as it was read: when, and what it says or why it says nothing."""

    stamp: _Stamp
    document: Document | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A device, where it is described, and how high that ranks."""

    rank: int
    path: Path
    document: Document
    device: Device


@dataclass(slots=True)
class _Known:
    """What all the files say: devices by name, each with every file of the highest rank."""

    devices: dict[str, list[_Found]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, found: _Found) -> None:
        name = f"{found.document.kind}={found.device.name}"
        others = self.devices.setdefault(name, [])
        if others and others[0].rank < found.rank:
            others.clear()
        others.append(found)


class CdiDirectories:
    """`Devices` as files describe them; a later directory ranks before an earlier one."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)
        self._files: Mapping[Path, _File] = {}
        self._lock = threading.Lock()

    def resolve(self, names: Sequence[str]) -> Edits:
        """See `Devices.resolve`."""
        if not names:
            return Edits()
        for name in names:
            check_name(name)
        known = self._known()
        found = [self._found(known, name) for name in names]
        try:
            return gathered(_parts(found))
        except NotFoundError as error:
            wanted = ", ".join(names)
            raise NotFoundError(f"cannot use the CDI devices {wanted}: {error}") from error
        except InvalidArgumentError as error:
            wanted = ", ".join(names)
            raise InvalidArgumentError(f"cannot use the CDI devices {wanted}: {error}") from error

    def problems(self) -> list[str]:
        """See `Devices.problems`."""
        known = self._known()
        conflicts = [_conflict(name, found) for name, found in sorted(known.devices.items())]
        return [*known.problems, *filter(None, conflicts)]

    def _known(self) -> _Known:
        """Return what the files say now."""
        known = _Known()
        with self._lock:
            files: dict[Path, _File] = {}
            for rank, directory in enumerate(self._directories):
                for path, stamp in _listed(directory):
                    old = self._files.get(path)
                    files[path] = old if old and old.stamp == stamp else _read(path, stamp)
                    _learn(known, rank, path, files[path])
            self._files = files
        return known

    def _found(self, known: _Known, name: str) -> _Found:
        found = known.devices.get(name)
        if found is None:
            places = " and ".join(map(str, self._directories)) or "no directory"
            wrong = f"; {'; '.join(known.problems)}" if known.problems else ""
            raise NotFoundError(f"cannot find CDI device {name} in {places}{wrong}")
        if conflict := _conflict(name, found):
            raise FailedPreconditionError(conflict)
        return found[0]


def _conflict(name: str, found: Sequence[_Found]) -> str:
    """Return why a device cannot be used although it is described; empty if it can."""
    if len(found) < 2:
        return ""
    files = " and ".join(str(one.path) for one in found)
    return f"cannot use CDI device {name}: {files} both describe it"


def _listed(directory: Path) -> Iterator[tuple[Path, _Stamp]]:
    """Yield the CDI files of a directory, by name; nothing if there is none."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for path in entries:
        if path.suffix in _SUFFIXES:
            try:
                status = path.stat()
            except OSError:
                continue
            yield path, (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path, stamp: _Stamp) -> _File:
    try:
        return _File(stamp=stamp, document=read(path))
    except Error as error:
        _log.warning("%s", error)
        return _File(stamp=stamp, problem=str(error))


def _learn(known: _Known, rank: int, path: Path, file: _File) -> None:
    if file.document is None:
        known.problems.append(file.problem)
        return
    for device in file.document.devices:
        known.add(_Found(rank=rank, path=path, document=file.document, device=device))


def _parts(found: Sequence[_Found]) -> Iterator[ContainerEdits]:
    """Yield the edits of each device, those of its file before the first of them."""
    seen: set[Path] = set()
    for one in found:
        if one.path not in seen:
            seen.add(one.path)
            yield one.document.container_edits
        yield one.device.container_edits
