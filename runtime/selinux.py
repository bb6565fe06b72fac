"""SELinux labels of files: of mounts that ferry makes, and of volumes that a client gives.

A kernel without SELinux has neither; there the labels are empty and nothing happens.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from store.errors import Error, InvalidArgumentError
from store.snapshots import Mount

_ATTRIBUTE: Final = "security.selinux"
_NEVER: Final = frozenset(
    map(Path, ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc"))
) | frozenset(map(Path, ("/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var")))  # noqa: S108 - named to be left alone


def context(label: str) -> tuple[str, ...]:
    """Return the mount option that gives every file of a mount the label; nothing for none."""
    return (f'context="{label}"',) if label else ()


def labelled(mount: Mount, label: str) -> Mount:
    """Return the mount with its files labelled, if it is an overlay; a bind shows others' files."""
    if mount.type != "overlay":
        return mount
    return replace(mount, options=(*mount.options, *context(label)))


async def relabel_all(sources: Iterable[Path], label: str) -> None:
    """Label the files below each source, as the client asks; nothing without a label.

    Raises:
        InvalidArgumentError: a source is one of the node's own directories.
        Error: a file cannot be labelled.
    """
    if label:
        for source in sources:
            await blocking.change("relabel", str(source), partial(relabel, source, label))


def relabel(source: Path, label: str, attribute: str = _ATTRIBUTE) -> None:
    """Label a file or a directory with all below it; links are not followed. For a thread."""
    if source in _NEVER:
        raise InvalidArgumentError(f"cannot relabel {source}: it belongs to the node")
    value = label.encode() + b"\0"
    try:
        for path in _below(source):
            os.setxattr(path, attribute, value, follow_symlinks=False)
    except OSError as error:
        raise Error(f"cannot relabel {error.filename or source}: {error.strerror}") from error


def _below(source: Path) -> Iterator[str]:
    yield str(source)
    if source.is_dir():
        for folder, directories, files in os.walk(source):
            yield from (str(Path(folder) / name) for name in (*directories, *files))
