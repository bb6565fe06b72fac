"""What an image consists of: the way from its name's target down to config and layers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from store.content import Descriptor
from store.digest import Digest
from store.errors import NotFoundError
from store.images import documents
from store.images import manifest as manifests
from store.images.manifest import Config, Index, Manifest
from store.images.platform import Platform, choose

T = TypeVar("T")
Read = Callable[[Descriptor], Awaitable[bytes]]
"""Returns a document, from content or from a registry."""

_INDEXES: Final = 3
"""An index may lead to an index, but not for ever."""
_INLINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """An image for one platform. `path` leads from the name's target to the manifest, both in it.

    `size` is what it takes in a registry: layers, config and manifest.
    """

    path: tuple[Descriptor, ...]
    manifest: Manifest
    config: Config
    chain_ids: tuple[Digest, ...]
    size: int

    @property
    def id(self) -> Digest:
        """The digest of the config, by which CRI knows the image."""
        return self.manifest.config.digest

    @property
    def chain_id(self) -> str:
        """The key of the topmost layer's snapshot; empty for an image without layers."""
        return self.chain_ids[-1] if self.chain_ids else ""


async def find(target: Descriptor, platform: Platform, read: Read) -> Details:
    """Return the image that `target` is for `platform`.

    Raises:
        NotFoundError: it has none for this platform, or `read` misses a document.
        DataLossError, InvalidArgumentError, UnimplementedError: a document is refused.
    """
    descriptor, document = await _read_document(target, read)
    path = [descriptor]
    while isinstance(document, Index):
        if len(path) > _INDEXES:
            raise documents.malformed("image index", f"more than {_INDEXES} lead to each other")
        chosen = _choose(document, platform, target)
        descriptor, document = await _read_document(chosen, read)
        path.append(descriptor)
    return await _complete(tuple(path), document, platform, read)


async def _read_document(descriptor: Descriptor, read: Read) -> tuple[Descriptor, Manifest | Index]:
    """Return a document, and its descriptor with the size that it has (a name may not tell)."""
    data = await read(descriptor)
    document = await _off_loop(data, lambda: manifests.parse(data, descriptor.media_type))
    return replace(descriptor, size=len(data)), document


async def _complete(
    path: tuple[Descriptor, ...], manifest: Manifest, platform: Platform, read: Read
) -> Details:
    data = await read(manifest.config)
    config = await _off_loop(data, lambda: manifests.parse_config(data, manifest))
    manifests.check_platform(config, platform)
    return Details(
        path=path,
        manifest=manifest,
        config=config,
        chain_ids=manifests.chain_ids(config.diff_ids),
        size=path[-1].size + len(data) + sum(layer.size for layer in manifest.layers),
    )


def _choose(index: Index, platform: Platform, target: Descriptor) -> Descriptor:
    chosen = choose(index.entries, platform)
    if chosen is None:
        offers = ", ".join(sorted({str(offer) for offer, _ in index.entries if offer}))
        raise NotFoundError(
            f"cannot use {target.digest}: it has nothing for {platform}, only {offers[:500]}"
        )
    return chosen


async def _off_loop(data: bytes, call: Callable[[], T]) -> T:
    """Read a large document on a thread."""
    return call() if len(data) <= _INLINE else await asyncio.to_thread(call)
