"""What keeps the things of a pull from the collector until a name refers to them."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from store.digest import Digest


class Lease(Protocol):
    """Protects what is added to it; each is added before it is made or looked for."""

    async def add_content(self, digest: Digest) -> None:
        """Protect a blob."""
        ...

    async def add_ingest(self, ref: str) -> None:
        """Protect an unfinished write."""
        ...

    async def add_snapshot(self, key: str) -> None:
        """Protect a snapshot and what lies below it."""
        ...


class Protection(Protocol):
    """Gives out leases."""

    def lease(self, namespace: str) -> AbstractAsyncContextManager[Lease]:
        """Hold a new lease for the block; its end frees what nothing refers to."""
        ...
