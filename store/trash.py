"""Removal in two steps: out of sight at once, off the disk soon after."""

import contextlib
import logging
import secrets
import threading
from collections import deque
from pathlib import Path

from store import errors
from store.files import explained, make_private
from store.trees import remove_tree

_log = logging.getLogger(__name__)


class Trash:
    """A directory whose entries a thread removes, one after the other.

    The thread lives only while there is something to remove. What it cannot remove is logged and
    stays until `empty`.

    Args:
        directory: made if it is not there; on the file system of what is thrown away.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._waiting: deque[Path] = deque()
        self._thread: threading.Thread | None = None
        make_private(directory)

    def take(self, path: Path) -> None:
        """Rename a file or directory out of its place; nothing there is no error."""
        target = self._directory / secrets.token_hex(16)
        with explained(f"discard {path}"), contextlib.suppress(FileNotFoundError):
            path.rename(target)
            self._remove_later(target)

    def wait(self) -> None:
        """Return when nothing waits to be removed; for a thread."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def empty(self) -> None:
        """Remove everything, also what an earlier process left; for a thread."""
        self.wait()
        with explained(f"list {self._directory}"):
            entries = list(self._directory.iterdir())
        for entry in entries:
            self._remove_later(entry)
        self.wait()

    def _remove_later(self, path: Path) -> None:
        with self._lock:
            self._waiting.append(path)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trash", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (path := self._next()) is not None:
            try:
                remove_tree(path)
            except errors.Error as error:
                _log.warning("left in the trash: %s", error)

    def _next(self) -> Path | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._thread = None
            return None
