"""Images: names over content, and how they get here: the contract.

An image is a name in a namespace that points at a descriptor (an index or a manifest). What runs
is found through it: the manifest of this platform, its config, its layers, and the chain of
committed snapshots they unpack to. CRI groups the names by the digest of the config (`Image.id`).

A pull fetches and unpacks under a lease, makes everything durable with one sync, and names the
image last; until then no listing shows it, and a failure or a cancellation leaves nothing but
resumable bytes that the collector takes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from store.content import Descriptor
from store.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A name in a namespace. Times are Unix nanoseconds."""

    name: str
    target: Descriptor
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The part of an image's config that a container is made from (OCI config.md)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedImage:
    """All that is known of one image id in one namespace, computed once and kept in memory.

    `names` are every name that leads here, tags and digests, sorted; `size` is the sum of the
    compressed layers, the config and the manifest in bytes.
    """

    id: Digest
    names: tuple[str, ...]
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    chain_id: str
    config: ImageConfig
    manifest: Descriptor
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client gives for one pull; at most one form is set (CRI AuthConfig)."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one piece of a pull is. `stage` is resolve, download, unpack or publish.

    A layer that waits for its turn, or is found to be here already, has a download of 0 bytes.
    """

    stage: str
    item: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemUsage:
    """What the store takes on one filesystem. `timestamp` is Unix nanoseconds."""

    mountpoint: str
    used_bytes: int
    inodes_used: int
    timestamp: int


Report = Callable[[Progress], None]
"""Called on the event loop, often: it must be cheap and must not raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """What a layer that was applied alone still needs; paths are relative to its directory.

    `opaque` directories hide those of the same name below; `hidden` are whiteouts, which must go
    where they hide nothing; `implied` directories were never described by the layer, only needed
    as parents; `links` are (name, target) of hard links whose target the layer does not have.
    """

    opaque: tuple[bytes, ...] = ()
    hidden: tuple[bytes, ...] = ()
    implied: tuple[bytes, ...] = ()
    links: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What applying a layer found out: the digest of the uncompressed tar, and what it takes.

    `size` is in bytes on disk, near enough for accounting.
    """

    diff_id: Digest
    size: int
    inodes: int
    unfinished: Unfinished = field(default_factory=Unfinished)


Follow = Callable[[], Awaitable[tuple[int, bool]]]
"""Waits until more of a growing blob is valid; answers (valid bytes so far, is that all?).

Once all is there it answers at once. It raises what ended the download early.
"""

Consumed = Callable[[int], None]
"""Told how many bytes of the blob are applied so far; cheap, on the event loop, never raises."""


class Unpacker(Protocol):
    """Applies layers to directories, in a cage: content cannot reach past `target`.

    Layers are unpacked in any order, several at once, each without sight of the others; then each
    is completed, base layer first. A layer that was not completed must not be committed.
    """

    async def unpack(
        self, *, blob: Path, follow: Follow, media_type: str, target: Path, report: Consumed
    ) -> Unpacked:
        """Apply the layer in `blob`, which may still be growing, to the existing `target`.

        Whatever a failure or a cancellation leaves in `target` is the caller's to remove. The
        blob's file is opened before anything is awaited: it is renamed once it is complete.

        Raises:
            InvalidArgumentError: the media type is not a layer's.
            DataLossError: the layer is malformed; the text names the entry.
            ResourceExhaustedError: a limit on size, entries or disk space is reached.
            UnavailableError: the worker ended; the next call starts another.
        """
        ...

    async def complete(
        self, unfinished: Unfinished, *, target: Path, lowers: tuple[Path, ...]
    ) -> None:
        """Finish a layer now that the ones below are there (`lowers`, topmost first).

        Opaque directories are marked, implied directories take their metadata from `lowers`, and
        hard links whose target lies there are made. Nothing to do costs nothing.

        Raises:
            DataLossError: a hard link's target is nowhere.
        """
        ...


class ImageReader(Protocol):
    """Lookup, from memory."""

    def find(self, namespace: str, reference: str) -> UnpackedImage | None:
        """Return the image by tag, digest reference or id (also `sha256:` or bare, shortened ids).

        Raises:
            InvalidArgumentError: the reference cannot be parsed.
        """
        ...

    def list(self, namespace: str) -> list[UnpackedImage]:
        """Return every image that is complete and unpacked, sorted by id."""
        ...


class ImagePuller(Protocol):
    """Fetching."""

    async def pull(
        self,
        namespace: str,
        reference: str,
        *,
        credentials: Credentials | None = None,
        report: Report | None = None,
    ) -> UnpackedImage:
        """Fetch, verify, unpack and name an image.

        Callers who ask for the same thing share one pull; it is cancelled when the last of them
        is. Nothing is fetched twice that is here already, but the name is always resolved anew.

        Raises:
            InvalidArgumentError: the reference cannot be parsed.
            NotFoundError: the registry does not have it, or not for this platform.
            PermissionDeniedError: the registry wants other credentials.
            UnavailableError: no host answered well; the text starts with `RegistryUnavailable`.
            DataLossError: what came is not what its digest, size or format promises.
        """
        ...


class ImageRemover(Protocol):
    """Removal."""

    async def remove(self, namespace: str, reference: str) -> None:
        """Forget every name of the image; unknown is no error. Disk is freed by the collector.

        Raises:
            FailedPreconditionError: the image is pinned.
        """
        ...


class ImageStore(ImageReader, ImagePuller, ImageRemover, Protocol):
    """What CRI's image service needs."""

    async def usage(self) -> list[FilesystemUsage]:
        """Return what content and snapshots take, one entry for each filesystem."""
        ...

    def events(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (topic, image name) as images are created, updated and deleted."""
        ...
