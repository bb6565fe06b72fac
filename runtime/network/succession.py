"""A network that took over from another one.

When the daemon is told to use another network, pods stay as they are connected until they end: new
pods get the new network, and each is disconnected by the one that has it on record.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

from runtime.network import Attachment, AttachRequest, NetworkStatus, NodeNetwork


class Succession:
    """`NodeNetwork` by `current`, for pods that `former` still holds by that."""

    def __init__(self, current: NodeNetwork, former: NodeNetwork) -> None:
        self._current = current
        self._former = former

    def __repr__(self) -> str:
        return f"<Succession {self._current} after {self._former}>"

    async def attach(self, request: AttachRequest) -> Attachment:
        """Connect a pod to the new network."""
        return await self._current.attach(request)

    async def detach(self, sandbox_id: str, netns: Path | None = None) -> None:
        """Disconnect a pod from whichever it is connected to."""
        await self._of(sandbox_id).detach(sandbox_id, netns)

    async def recover(self, known: Collection[str]) -> None:
        """Recover both, the old one first: its pods may be in the way of the new one's."""
        await self._former.recover(known)
        await self._current.recover(known)

    def status(self) -> NetworkStatus:
        """Return whether pods can be connected to the new network."""
        return self._current.status()

    async def set_pod_cidr(self, cidr: str) -> None:
        """Tell the new network."""
        await self._current.set_pod_cidr(cidr)

    def holds(self, sandbox_id: str) -> bool:
        """Tell whether either has the sandbox on record."""
        return self._of(sandbox_id).holds(sandbox_id)

    async def maintain(self, every: float = 10.0) -> None:
        """Keep both as they should be."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._current.maintain(every))
            group.create_task(self._former.maintain(every))

    async def close(self) -> None:
        """Close both."""
        try:
            await self._current.close()
        finally:
            await self._former.close()

    def _of(self, sandbox_id: str) -> NodeNetwork:
        return self._former if self._former.holds(sandbox_id) else self._current
