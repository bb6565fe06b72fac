"""What is in a directory, as entries of an archive.

The tree may be a running container's, so nothing in it is trusted: every name is opened by
`beneath`, and a file that changes while it is read is an error.
"""

import os
import stat
from collections.abc import Iterator
from typing import Final

from store.errors import UnavailableError
from store.images.layers import Entry, Kind, beneath, shown
from store.images.layers.apply import kept

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
}
_PIECE: Final = 1 << 20


class Nodes:
    """The tree below the directory `root`, a descriptor that the caller closes."""

    def __init__(self, root: int) -> None:
        self.root = root

    def look(self, path: bytes) -> os.stat_result | None:
        """Return what is at `path`, None if nothing is."""
        return beneath.look(self.root, path)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, sorted."""
        with beneath.opened(self.root, path, beneath.DIRECTORY) as fd:
            return sorted(os.fsencode(name) for name in os.listdir(fd))

    def link(self, path: bytes) -> bytes:
        """Return the text of a symbolic link."""
        with beneath.opened(self.root, path, beneath.LOOK) as fd:
            return os.readlink(b"", dir_fd=fd)

    def attributes(self, path: bytes, status: os.stat_result) -> tuple[tuple[bytes, bytes], ...]:
        """Return the extended attributes of a file or directory that a layer may have, sorted.

        One with `=` in its name is left out: PAX ends a keyword there.
        """
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return ()
        with beneath.opened(self.root, path, beneath.READ) as fd:
            names = sorted(os.fsencode(name) for name in os.listxattr(fd))
            return tuple(
                (name, os.getxattr(fd, name)) for name in names if kept(name) and b"=" not in name
            )

    def entry(self, path: bytes, status: os.stat_result) -> Entry | None:
        """Return the entry for what `look` found; None for a socket, which no archive holds."""
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        device = kind in {Kind.CHARACTER, Kind.BLOCK}
        return Entry(
            name=written(path, kind),
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns,
            size=status.st_size if kind is Kind.FILE else 0,
            link=self.link(path) if kind is Kind.SYMLINK else b"",
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if device else (0, 0),
            attributes=self.attributes(path, status),
        )

    def content(self, path: bytes, size: int) -> Iterator[bytes]:
        """Yield the `size` bytes of a file.

        Raises:
            UnavailableError: it has become shorter.
        """
        with beneath.opened(self.root, path, beneath.READ) as fd:
            while size:
                piece = os.read(fd, min(size, _PIECE))
                if not piece:
                    raise UnavailableError(f"cannot archive {shown(path)}: it is being changed")
                size -= len(piece)
                yield piece


def written(path: bytes, kind: Kind) -> bytes:
    """Return how an archive names `path`."""
    if kind is Kind.DIRECTORY:
        return path + b"/" if path else b"./"
    return path
