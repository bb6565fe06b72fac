"""Noticing that a directory may have changed, whatever happens to it.

inotify tells at once, but loses sight of a directory that is removed and made again, comes late or
is a link that is turned elsewhere. So the parent is watched, too (the nearest that exists), the
watches are set anew after each event, and `changed` returns after a while without any.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.kernel.inotify import CONTENTS, NAMES, Inotify

_log = logging.getLogger(__name__)

# Whoever writes a file makes several events of it; one look after the last is enough.
_SETTLING = 0.05


class DirectoryWatch:
    """Watches one directory for the block, on the running loop.

    Where inotify can not be had, time alone makes `changed` return.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._noticed = asyncio.Event()
        self._inotify: Inotify | None = None

    def __enter__(self) -> Self:
        try:
            self._inotify = Inotify()
            self._arm()
        except OSError as error:
            _log.warning("cannot watch %s, looking at intervals: %s", self._directory, error)
        if self._inotify is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._inotify.fileno(), self._readable)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()

    async def changed(self, within: float) -> bool:
        """Return once something may have changed, True, or after `within` seconds, False.

        What happens between two calls is noticed by the second.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._noticed.wait()
                await asyncio.sleep(_SETTLING)
        noticed = self._noticed.is_set()
        self._noticed.clear()
        with contextlib.suppress(OSError):
            self._arm()
        return noticed

    def _readable(self) -> None:
        if self._inotify is not None and self._inotify.drain():
            self._noticed.set()

    def _arm(self) -> None:
        if self._inotify is not None:
            parent = next(path for path in self._directory.parents if path.is_dir())
            self._inotify.watch({parent: NAMES, self._directory: CONTENTS})
