"""Leases that only take notes."""

import contextlib
from collections.abc import AsyncIterator

from store.digest import Digest


class NotedLease:
    """What a pull has protected."""

    def __init__(self) -> None:
        self.added: list[str] = []

    async def add_content(self, digest: Digest) -> None:
        """Note a blob."""
        self.added.append(f"content {digest}")

    async def add_ingest(self, ref: str) -> None:
        """Note an unfinished write."""
        self.added.append(f"ingest {ref}")

    async def add_snapshot(self, key: str) -> None:
        """Note a snapshot."""
        self.added.append(f"snapshot {key}")


class NotedProtection:
    """Gives out leases and remembers them; `held` are those that have not ended."""

    def __init__(self) -> None:
        self.held: list[NotedLease] = []
        self.ended: list[NotedLease] = []

    @contextlib.asynccontextmanager
    async def lease(self, namespace: str) -> AsyncIterator[NotedLease]:
        """Hold a new lease for the block."""
        del namespace
        lease = NotedLease()
        self.held.append(lease)
        try:
            yield lease
        finally:
            self.held.remove(lease)
            self.ended.append(lease)
