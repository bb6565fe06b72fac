"""Layers: tar archives that become the directories of an image, and directories that become tar.

Bytes in, entries out: `reader.TarReader` knows the format and no file system. `apply.Applier` puts
entries into a directory and trusts its surroundings: it runs in a cage (`store.images.cage`) whose
root is that directory, so a name has nowhere else to lead. `completion` does what needs the layers
below, outside of the cage and by descriptors that cannot be led astray. `diff` is the way back:
what changed, as a layer.

Rules for what a layer may hold (OCI image specification, layer.md), where it leaves room:

- names are bytes; a leading `/` and `.` components mean nothing, a `..` component is refused, and
  so is a hard link to a symbolic link;
- `.wh.NAME` hides NAME of the layers below (a character device 0:0), `.wh..wh..opq` hides all of
  them in its directory; neither touches what the same layer brings;
- `security.capability`, POSIX ACLs and `user.*` attributes are kept, all others are dropped:
  `trusted.*` steers overlayfs, and labels belong to the node;
- setuid and setgid bits, owners, devices and modification times (to the nanosecond) are kept;
- global PAX headers are ignored, as every other runtime does.

What is refused is a `DataLossError`, what is too much a `ResourceExhaustedError`; both name the
entry.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple


class Kind(enum.Enum):
    """What an entry makes."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "FIFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of the archive, as it is written there.

    `name` and `link` are raw bytes; `mode` has the permission bits only; `mtime` is in Unix
    nanoseconds; `size` is that of the file with its holes; `attributes` are extended attributes.
    """

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    attributes: tuple[tuple[bytes, bytes], ...] = ()


class Data(NamedTuple):
    """Bytes of the entry before it, valid until the next step of the reader."""

    offset: int
    view: memoryview


Event = Entry | Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one layer may cost before it is refused.

    `size` is bytes of the tar, and of files with their holes; `ratio` is what compression may
    gain once more than `grace` bytes came out (deflate cannot reach 1100); `header` is bytes of
    one extended header or sparse map; `name` is bytes of one path; `reserve` is bytes that stay
    free on the file system; `memory` (bytes) and `seconds` (of processor) bound the worker.
    """

    size: int = 128 << 30
    entries: int = 4_000_000
    ratio: int = 1100
    grace: int = 1 << 30
    header: int = 1 << 20
    name: int = 4096
    reserve: int = 256 << 20
    memory: int = 2 << 30
    seconds: int = 1800


def shown(name: bytes) -> str:
    """Return how an error text names an entry: quoted, printable, not too long."""
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 200 else f"{text[:200]}...")
