"""Disk space kept back, so that a full disk does not stop those who want to free some."""

import contextlib
import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)


class Reserve:
    """A file of `size` allocated bytes beside the database."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def fill(self) -> None:
        """Allocate the file if it is not there; a disk that is too full for it is left alone."""
        if self._path.exists():
            return
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size)
            finally:
                os.close(fd)
        except OSError as error:
            _log.warning("cannot keep %d bytes back in %s: %s", self._size, self._path, error)
            self.free()

    def free(self) -> bool:
        """Give the space to whoever needs it now; False if it is gone already."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
