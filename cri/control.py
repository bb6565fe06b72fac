"""What signals ask of the daemon: SIGTERM and SIGINT to end, SIGHUP to reload, SIGUSR1 to tell."""

import asyncio
import io
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cri.config import Config
from cri.config.load import Loaded
from cri.config.text import Changes, changes, in_force
from cri.notify import notify, reloading
from runtime import blocking
from runtime.operations import Operations
from store.errors import Error

_log = logging.getLogger("ferryd")


class Control:
    """The configuration in force, and what signals do.

    Args:
        loaded: the configuration the daemon started with.
        read: reads it anew.
        operations: what SIGUSR1 prints.
    """

    def __init__(self, loaded: Loaded, read: Callable[[], Loaded], operations: Operations) -> None:
        self._config = loaded.config
        self._read = read
        self._operations = operations
        self._ended = asyncio.Event()
        self._on_reload: list[Callable[[Config], None]] = []

    def __repr__(self) -> str:
        return f"<Control: {'ends' if self._ended.is_set() else 'goes on'}>"

    @property
    def config(self) -> Config:
        """The configuration in force; keys that need a restart are as they were at start."""
        return self._config

    def on_reload(self, apply: Callable[[Config], None]) -> None:
        """Call `apply` with each new configuration; it must not raise."""
        self._on_reload.append(apply)

    async def ended(self) -> None:
        """Return when the daemon shall end."""
        await self._ended.wait()

    def end(self) -> None:
        """Let the daemon end."""
        self._ended.set()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Hear signals for the block."""
        loop = asyncio.get_running_loop()
        actions = {
            signal.SIGTERM: self.end,
            signal.SIGINT: self.end,
            signal.SIGHUP: self.reload,
            signal.SIGUSR1: self.tell,
        }
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)

    def reload(self) -> None:
        """Take the configuration as it is on disk now, whole, or keep the old one and say why."""
        notify(*reloading())
        try:
            fresh = self._read().config
        except Error as error:
            _log.error("reload: the old configuration stays: %s", error)
            notify("READY=1", f"STATUS=reload failed, the old configuration stays: {error}")
            return
        found = changes(self._config, fresh)
        self._config = in_force(self._config, fresh)
        for apply in self._on_reload:
            apply(self._config)
        _log.info("reload: %s", _words(found))
        notify("READY=1", f"STATUS=reloaded: {_words(found)}")

    def tell(self) -> None:
        """Log every operation in flight with its stages, hung calls, and what each task awaits."""
        running = self._operations.list()
        _log.warning("operations in flight: %d", len(running))
        for operation in running:
            _log.warning(
                "operation %d %s %s, %.1f s: %s",
                operation.number,
                operation.kind,
                operation.subject,
                operation.age,
                operation.where(),
            )
        for call in blocking.stuck():
            _log.warning("hangs in the kernel, nobody waits for it any more: %s", call)
        for task in asyncio.all_tasks():
            stack = io.StringIO()
            task.print_stack(limit=4, file=stack)
            _log.warning("task %s: %s", task.get_name(), " | ".join(stack.getvalue().split("\n")))


def _words(found: Changes) -> str:
    live, later = ", ".join(found.live) or "nothing", ", ".join(found.restart)
    return f"changed {live}" + (f"; after a restart: {later}" if later else "")
