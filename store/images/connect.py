"""How a pull gets to its registry: configuration read anew, one transport, tokens kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from store.content import Descriptor
from store.digest import Digest
from store.images import Credentials, hosts
from store.images.reference import Reference
from store.images.registry import Registry, Retries, Sink
from store.images.tokens import Authorizer, TokenCache
from store.images.transport import Patience

if TYPE_CHECKING:
    from store.images.http import HttpTransport


class Remote(Protocol):
    """A repository to pull from; see `Registry` for what its methods promise."""

    async def resolve(self) -> Descriptor:
        """Return what the reference names now."""
        ...

    async def document(self, wanted: Descriptor) -> bytes:
        """Return a manifest, an index or a config, verified."""
        ...

    async def fetch(self, blob: Descriptor, sink: Sink) -> None:
        """Append to `sink` what it lacks of the blob."""
        ...

    def distrust(self, digest: Digest) -> bool:
        """Ask the hosts that sent this blob no more; tell whether there are others."""
        ...


class Connector(Protocol):
    """Opens repositories."""

    def connect(
        self, reference: Reference, credentials: Credentials | None
    ) -> AbstractAsyncContextManager[Remote]:
        """Open the repository of `reference` for the block."""
        ...


class RegistryConnector:
    """Opens repositories as `certs.d` directories say, the first of `roots` first."""

    def __init__(
        self,
        roots: tuple[Path, ...] = (),
        *,
        patience: Patience | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._roots = roots
        self._patience = patience or Patience()
        self._retries = retries or Retries()
        self._tokens = TokenCache()

    @contextlib.asynccontextmanager
    async def connect(
        self, reference: Reference, credentials: Credentials | None
    ) -> AsyncIterator[Remote]:
        """Open the repository of `reference` for the block.

        Raises:
            FailedPreconditionError: a `hosts.toml` is malformed.
        """
        endpoints = await asyncio.to_thread(hosts.lookup, self._roots, reference.domain)
        transport_type = await asyncio.to_thread(_transport_type)
        async with transport_type(self._patience) as transport:
            authorizer = Authorizer(
                transport,
                self._tokens,
                domain=reference.domain,
                scope=f"repository:{reference.path}:pull",
                credentials=credentials,
            )
            yield Registry(
                reference,
                endpoints,
                transport=transport,
                authorizer=authorizer,
                retries=self._retries,
            )


def _transport_type() -> "type[HttpTransport]":
    from store.images.http import HttpTransport  # noqa: PLC0415 - aiohttp only when one pulls

    return HttpTransport
