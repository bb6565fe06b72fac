"""A pod's interface from being made to being deleted."""

import asyncio
import logging
import threading
from collections.abc import Collection
from pathlib import Path

from runtime.network.wires import PodLink, Wires

_log = logging.getLogger(__name__)


class Connection:
    """A pod's way on and off the bridge, in blocking calls.

    Off is final, and waits for an on that has begun: so the undo of a cancelled operation never
    overtakes the thread that still works for it.

    Args:
        wires: the kernel.
        pod: what to connect.
        replaces: whether an interface of this name may still be there, to be deleted first.
    """

    def __init__(self, wires: Wires, pod: PodLink, *, replaces: bool) -> None:
        self.pod = pod
        self._wires = wires
        self._replaces = replaces
        self._lock = threading.Lock()
        self._off = False

    def on(self, netns: Path) -> None:
        """Connect the pod, unless it is off already."""
        with self._lock:
            if self._off:
                return
            if self._replaces:
                self._wires.delete((self.pod.link,))
            self._wires.connect(self.pod, netns)

    def off(self) -> None:
        """Take away whatever is there."""
        with self._lock:
            self._off = True
            self._wires.disconnect(self.pod)
            self._wires.delete((self.pod.link,))


class Condemned:
    """Interfaces that are down and will be deleted, unless they go with their namespace before.

    Args:
        wires: the kernel.
        grace: seconds to wait.
    """

    def __init__(self, wires: Wires, grace: float) -> None:
        self._wires = wires
        self._grace = grace
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Condemned: {sorted(self._due)}>"

    def add(self, name: str) -> None:
        """Delete an interface when the grace period is over."""
        self._due[name] = asyncio.get_running_loop().time() + self._grace
        self._wait()

    def discard(self, name: str) -> bool:
        """Leave it alone; tell whether it would have been deleted."""
        return self._due.pop(name, None) is not None

    def take(self) -> frozenset[str]:
        """Return all of them; they are the caller's to delete."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        names = frozenset(self._due)
        self._due.clear()
        return names

    def _wait(self) -> None:
        if self._due and self._timer is None:
            first = min(self._due.values())
            self._timer = asyncio.get_running_loop().call_at(first, self._delete_due)

    def _delete_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        # Those that wait on are likely to go with their namespace, which costs nothing.
        names = [name for name, due in self._due.items() if due <= now]
        for name in names:
            del self._due[name]
        self._wait()
        if names:
            threading.Thread(
                target=self._delete, args=(names,), name="delete interfaces", daemon=True
            ).start()

    def _delete(self, names: Collection[str]) -> None:
        try:
            self._wires.delete(names)
        except OSError as error:
            _log.warning("cannot delete interfaces of stopped pods: %s", error)
