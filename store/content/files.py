"""Where the bytes of blobs lie: in a directory tree, or in memory.

Both give every blob and every unfinished write a path that other processes can open. All calls are
quick but for those that say they are for a thread.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from store import digest as digests
from store.digest import Digest
from store.errors import InvalidArgumentError
from store.files import explained, make_private, sync_filesystem
from store.trash import Trash

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class BlobFiles(Protocol):
    """Unfinished writes by `ref`, and blobs by digest."""

    def open(self, ref: str) -> int:
        """Return a descriptor that appends to the write `ref`; the caller closes it."""
        ...

    def partial(self, ref: str) -> Path:
        """Return where the bytes of the write `ref` lie."""
        ...

    def drop(self, ref: str) -> None:
        """Forget the write `ref`, if there is one."""
        ...

    def publish(self, ref: str, digest: Digest) -> None:
        """Make the write `ref` the blob `digest`, replacing one that is there."""
        ...

    def path(self, digest: Digest) -> Path:
        """Return where the bytes of a blob lie, or would."""
        ...

    def size(self, digest: Digest) -> int | None:
        """Return how many bytes the blob has, None if it is not there."""
        ...

    def discard(self, digest: Digest) -> None:
        """Forget the blob, if it is there; readers that have it open keep it."""
        ...


class DirectoryFiles:
    """`blobs/<algorithm>/<hex>`, `ingest/<hash of the ref>` and `trash/` below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        self.trash = Trash(root / "trash")
        for directory in (self._ingest, *(self._blobs / name for name in digests.ALGORITHMS)):
            make_private(directory)

    def open(self, ref: str) -> int:
        """Return a descriptor that appends to the write `ref`; the caller closes it."""
        with explained(f"open the unfinished write {ref}"):
            return os.open(self.partial(ref), _NEW, 0o600)

    def partial(self, ref: str) -> Path:
        """Return where the bytes of the write `ref` lie."""
        return self._ingest / hashlib.sha256(ref.encode("utf-8", "surrogatepass")).hexdigest()

    def drop(self, ref: str) -> None:
        """Forget the write `ref`, if there is one."""
        self.trash.take(self.partial(ref))

    def publish(self, ref: str, digest: Digest) -> None:
        """Make the write `ref` the blob `digest` by a rename."""
        with explained(f"publish blob {digest}"):
            self.partial(ref).rename(self.path(digest))

    def path(self, digest: Digest) -> Path:
        """Return where the bytes of a blob lie, or would."""
        return self._blobs / digests.algorithm(digest) / digests.encoded(digest)

    def size(self, digest: Digest) -> int | None:
        """Return how many bytes the blob has, None if it is not there."""
        with explained(f"look at blob {digest}"):
            try:
                return self.path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def discard(self, digest: Digest) -> None:
        """Forget the blob, if it is there; its space is freed soon after."""
        self.trash.take(self.path(digest))

    def blobs(self) -> list[Digest]:
        """Return the digest of every file that could be a blob; for a thread."""
        with explained(f"list {self._blobs}"):
            names = [f"{path.parent.name}:{path.name}" for path in self._blobs.glob("*/*")]
        found = []
        for name in names:
            with contextlib.suppress(InvalidArgumentError):
                found.append(digests.parse(name))
        return found

    def drop_partials(self, kept: Iterable[str]) -> None:
        """Drop every unfinished write but those of the refs in `kept`."""
        known = {self.partial(ref) for ref in kept}
        with explained(f"clear {self._ingest}"):
            for path in self._ingest.iterdir():
                if path not in known:
                    self.trash.take(path)

    def sync(self) -> None:
        """Return when every byte is on the disk; for a thread."""
        sync_filesystem(self.root)


class MemoryFiles:
    """Anonymous files (memfd_create(2)), gone with the process or `close`."""

    def __init__(self) -> None:
        self._partials: dict[str, int] = {}
        self._blobs: dict[Digest, int] = {}

    def open(self, ref: str) -> int:
        """Return a descriptor that appends to the write `ref`; the caller closes it."""
        with explained(f"open the unfinished write {ref}"):
            if ref not in self._partials:
                self._partials[ref] = os.memfd_create("blob", os.MFD_CLOEXEC)
            return os.open(self.partial(ref), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    def partial(self, ref: str) -> Path:
        """Return where the bytes of the write `ref` lie."""
        return _descriptor_path(self._partials.get(ref, -1))

    def drop(self, ref: str) -> None:
        """Forget the write `ref`, if there is one."""
        if ref in self._partials:
            os.close(self._partials.pop(ref))

    def publish(self, ref: str, digest: Digest) -> None:
        """Make the write `ref` the blob `digest`, replacing one that is there."""
        self.discard(digest)
        self._blobs[digest] = self._partials.pop(ref)

    def path(self, digest: Digest) -> Path:
        """Return where the bytes of a blob lie; a path of nothing if it is not there."""
        return _descriptor_path(self._blobs.get(digest, -1))

    def size(self, digest: Digest) -> int | None:
        """Return how many bytes the blob has, None if it is not there."""
        return os.fstat(self._blobs[digest]).st_size if digest in self._blobs else None

    def discard(self, digest: Digest) -> None:
        """Forget the blob, if it is there; readers that have it open keep it."""
        if digest in self._blobs:
            os.close(self._blobs.pop(digest))

    def close(self) -> None:
        """Free all of it."""
        for ref in list(self._partials):
            self.drop(ref)
        for digest in list(self._blobs):
            self.discard(digest)


def _descriptor_path(descriptor: int) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
