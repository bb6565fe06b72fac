"""What is visible of layers that lie on each other, as overlayfs would show it."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from store.images.layers import beneath
from store.images.layers.tree import is_whiteout

_MOST_LINKS: Final = 40
OPAQUE: Final = "trusted.overlay.opaque"


class Found(NamedTuple):
    """The topmost thing at a path, and the descriptor of the layer that has it."""

    layer: int
    status: os.stat_result


class Merged:
    """Layers, topmost first, by descriptors that the caller keeps open."""

    def __init__(self, layers: Sequence[int]) -> None:
        self.layers = layers

    @classmethod
    @contextlib.contextmanager
    def opened(cls, layers: Sequence[Path]) -> Iterator[Self]:
        """Open the directories of `layers` for the block."""
        with contextlib.ExitStack() as stack:
            fds = []
            for layer in layers:
                fds.append(os.open(layer, beneath.DIRECTORY | os.O_CLOEXEC))
                stack.callback(os.close, fds[-1])
            yield cls(fds)

    def find(self, path: bytes) -> Found | None:
        """Return what is visible at `path`; None if nothing, or if a link is on the way."""
        for layer in self.layers:
            status = beneath.look(layer, path)
            if status is not None:
                return None if is_whiteout(status) else Found(layer, status)
            if hides(layer, path):
                return None
        return None

    def link(self, found: Found, path: bytes) -> bytes:
        """Return the text of a symbolic link that was `found` at `path`."""
        with beneath.opened(found.layer, path, beneath.LOOK) as fd:
            return os.readlink(b"", dir_fd=fd)

    def resolve(self, start: bytes, path: bytes) -> bytes | None:
        """Return where `path` leads from the directory `start`, as a process in the image sees it.

        None if it leads nowhere, or over more than 40 links, which is where the kernel stops.
        """
        done = [part for part in start.split(b"/") if part]
        todo = list(reversed(path.split(b"/")))
        if path.startswith(b"/"):
            done.clear()
        links = 0
        while todo:
            part = todo.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                done = done[:-1]
                continue
            here = b"/".join([*done, part])
            found = self.find(here)
            if found is None:
                return None
            if not stat.S_ISLNK(found.status.st_mode):
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                return None
            text = self.link(found, here)
            if text.startswith(b"/"):
                done.clear()
            todo += reversed(text.split(b"/"))
        return b"/".join(done)

    def names(self) -> set[bytes]:
        """Return the names in the root that any layer has."""
        return {os.fsencode(name) for layer in self.layers for name in os.listdir(layer)}


def hides(layer: int, path: bytes) -> bool:
    """Whether something on the way to `path` in `layer` covers the layers below it."""
    at = path.find(b"/")
    while at >= 0:
        with contextlib.suppress(FileNotFoundError):
            fd = beneath.open_beneath(layer, path[:at], beneath.LOOK)
            try:
                if not stat.S_ISDIR(os.fstat(fd).st_mode) or is_opaque(fd):
                    return True
            finally:
                os.close(fd)
        at = path.find(b"/", at + 1)
    return False


def is_opaque(fd: int) -> bool:
    """Whether a directory hides those of its name below; `fd` may be opened with O_PATH."""
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", OPAQUE) == b"y"
    except OSError:
        return False
