"""Putting a layer's entries into its directory.

Order matters within an entry: owner before mode and attributes (a change of owner drops setuid
bits and capabilities), the time last. A file that belongs to root needs neither.
"""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

from store.errors import DataLossError, Error, ResourceExhaustedError
from store.images.layers import Data, Entry, Event, Kind, Limits, names, shown
from store.images.layers.names import Meaning
from store.images.layers.tree import Tree

_TYPES: Final = {
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
_KEPT: Final = frozenset(
    {b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"}
)
_SPECIAL: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK: Final = 4096
_CHECK_EVERY: Final = 64 << 20
_LARGEST_TIME: Final = (1 << 63) - 1
_LARGEST_ID: Final = (1 << 32) - 2
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE})
# What the kernel says of a name, a link or a value that a layer should not have had.
_CONTENT: Final = frozenset(
    {
        errno.E2BIG,
        errno.EEXIST,
        errno.EFBIG,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EOVERFLOW,
        errno.ERANGE,
    }
)


@dataclass(slots=True)
class _File:
    """The file that is being written."""

    entry: Entry
    fd: int
    reached: int = 0
    written: int = 0


class Applier:
    """One layer on its way into a directory. After an error it is of no more use.

    Args:
        limits: what the layer may cost.
        root: put before every path: empty when the working directory is the layer's root.
    """

    def __init__(self, limits: Limits, root: bytes = b"") -> None:
        self.size = 0
        self.links: dict[bytes, bytes] = {}
        self.tree = Tree(root)
        self._limits = limits
        self._apparent = 0
        self._directories: dict[bytes, Entry] = {}
        self._name = b""
        self._file: _File | None = None
        self._unchecked = 0

    def take(self, event: Event) -> None:
        """Do what one event of the reader says.

        Raises:
            DataLossError: the entry makes no sense; the text names it.
            ResourceExhaustedError: a limit or the end of the disk is reached.
        """
        try:
            if isinstance(event, Data):
                self._write(event)
            else:
                self._end_file()
                self._name = event.name
                self._begin(event)
        except (DataLossError, ResourceExhaustedError, OSError) as error:
            raise _named(self._name, error) from error

    def finish(self) -> None:
        """Give directories their owners, modes, attributes and times, now that all is in them."""
        try:
            self._end_file()
            for name, entry in reversed(self._directories.items()):
                self._name = entry.name
                self._dress_directory(name, entry)
        except (DataLossError, ResourceExhaustedError, OSError) as error:
            raise _named(self._name, error) from error

    def _begin(self, entry: Entry) -> None:
        path, meaning = names.target(entry.name, self._limits.name)
        match meaning:
            case Meaning.MAKE:
                self._make(path, entry)
            case Meaning.HIDE:
                self.tree.hide(path)
            case Meaning.HIDE_ALL_IN:
                self.tree.hide_all_in(path)
            case Meaning.NOTHING:
                pass

    def _make(self, path: bytes, entry: Entry) -> None:
        if not (0 <= entry.uid <= _LARGEST_ID and 0 <= entry.gid <= _LARGEST_ID):
            raise DataLossError(f"its owner is {entry.uid}:{entry.gid}")
        if self.links:
            self.links.pop(path, None)
        match entry.kind:
            case Kind.FILE:
                self._begin_file(path, entry)
            case Kind.DIRECTORY:
                self.tree.directory(path)
                self._directories.pop(path, None)
                self._directories[path] = entry
            case Kind.HARD_LINK:
                self._link(path, entry)
            case Kind.SYMLINK:
                self.tree.symlink(path, entry.link)
                self._dress_path(path, entry)
            case Kind.CHARACTER if entry.device == (0, 0):
                # How overlayfs writes a whiteout, as in a plain tar of an upper directory.
                self.tree.hide(path)
            case Kind.CHARACTER | Kind.BLOCK | Kind.FIFO:
                self.tree.node(path, _TYPES[entry.kind] | 0o600, _device(entry))
                self._dress_path(path, entry)

    def _link(self, path: bytes, entry: Entry) -> None:
        target = names.clean(entry.link, self._limits.name)
        if not self.tree.link(path, target):
            self.links[path] = target

    def _begin_file(self, path: bytes, entry: Entry) -> None:
        self._apparent += entry.size
        if self._apparent > self._limits.size:
            raise ResourceExhaustedError(f"its files have more than {self._limits.size} bytes")
        self._file = _File(entry, self.tree.file(path, _first_mode(entry)))

    def _write(self, data: Data) -> None:
        file = self._file
        if file is None:
            return
        offset, view = data
        while view:
            written = os.pwrite(file.fd, view, offset)
            offset += written
            view = view[written:]
        file.reached = offset
        file.written += len(data.view)
        self._check_space(file.fd, len(data.view))

    def _check_space(self, fd: int, length: int) -> None:
        self._unchecked += length
        if self._unchecked >= _CHECK_EVERY:
            self._unchecked = 0
            space = os.fstatvfs(fd)
            if space.f_bavail * space.f_frsize < self._limits.reserve:
                raise ResourceExhaustedError(
                    f"less than {self._limits.reserve} bytes are free on the file system"
                )

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        entry, fd = file.entry, file.fd
        try:
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
            if _first_mode(entry) != entry.mode:
                os.fchmod(fd, entry.mode)
            if entry.attributes:
                _set_attributes(fd, entry)
            if file.reached < entry.size:
                os.ftruncate(fd, entry.size)
            os.utime(fd, ns=_times(entry))
        finally:
            os.close(fd)
        self.size += file.written + -file.written % _BLOCK

    def _dress_path(self, name: bytes, entry: Entry) -> None:
        """Give a node or symbolic link its owner, mode and time."""
        path = self.tree.path(name)
        if entry.uid or entry.gid:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(path, entry.mode)
        os.utime(path, ns=_times(entry), follow_symlinks=False)

    def _dress_directory(self, name: bytes, entry: Entry) -> None:
        try:
            fd = os.open(self.tree.path(name), _OPEN)
        except (FileNotFoundError, NotADirectoryError):
            # A later entry took its place.
            return
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            _set_attributes(fd, entry)
            os.utime(fd, ns=_times(entry))
        finally:
            os.close(fd)


def kept(attribute: bytes) -> bool:
    """Whether a layer may set this extended attribute."""
    if attribute.startswith(b"user."):
        return not attribute.startswith(b"user.overlay.")
    return attribute in _KEPT


def _set_attributes(fd: int, entry: Entry) -> None:
    for attribute, value in entry.attributes:
        if not kept(attribute):
            continue
        try:
            os.setxattr(fd, attribute, value)
        except OSError as error:
            # A file system without such attributes is no reason to refuse an image.
            if error.errno != errno.ENOTSUP or attribute == b"security.capability":
                raise


def _first_mode(entry: Entry) -> int:
    """The mode a file is made with: its own, if nothing that comes later could spoil it."""
    plain = not (entry.uid or entry.gid or entry.mode & _SPECIAL)
    return entry.mode if plain else 0o600


def _times(entry: Entry) -> tuple[int, int]:
    mtime = max(-_LARGEST_TIME, min(entry.mtime, _LARGEST_TIME))
    return mtime, mtime


def _device(entry: Entry) -> int:
    major, minor = entry.device
    if entry.kind is Kind.FIFO:
        return 0
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise DataLossError(f"there is no device {major}:{minor}")
    return os.makedev(major, minor)


def _named(name: bytes, error: Exception) -> Error:
    """Return `error` with the entry in its text, as what the caller can do about it."""
    kind: type[Error] = Error
    reason = str(error)
    if isinstance(error, OSError):
        reason = os.strerror(error.errno or 0)
        if error.errno in _FULL:
            kind = ResourceExhaustedError
        elif error.errno in _CONTENT:
            kind = DataLossError
    elif isinstance(error, Error):
        kind = type(error)
    return kind(f"cannot unpack entry {shown(name)}: {reason}")
