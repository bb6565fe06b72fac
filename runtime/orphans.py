"""Children that come to us because their parents died.

The daemon is a subreaper: a program that an OCI runtime starts and leaves is ours to wait for, and
so is a container whose monitor was killed. What nobody waits for must still be reaped, and soon: a
zombie that crun left in a container's PID namespace keeps the container from ending
(pid_namespaces(7): its first process outlives SIGKILL until all others are reaped).
"""

import asyncio
import contextlib
import os
from pathlib import Path

from runtime.kernel.processes import stat_fields
from runtime.pidfd import ProcessId, identify
from store.errors import NotFoundError


async def sweep(every: float = 0.5) -> None:
    """For ever: reap each child that nobody has reaped for a whole round of `every` seconds.

    That is long enough for whoever started one and waits for it.
    """
    before: set[ProcessId] = set()
    while True:
        await asyncio.sleep(every)
        found = await asyncio.to_thread(_zombies) if _any() else set()
        for orphan in found & before:
            with contextlib.suppress(ChildProcessError):
                flags = os.WEXITED | os.WNOHANG
                os.waitid(os.P_PID, orphan.pid, flags)  # noqa: ASYNC222 - does not wait
        before = found - before


def _any() -> bool:
    """Tell whether any child can be waited for, without doing so."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _zombies() -> set[ProcessId]:
    """Return every child that can be waited for: all of them, so that none waits for another."""
    found = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):  # that thread has ended
            for pid in map(int, children.read_text().split()):
                fields = stat_fields(pid)
                if fields is not None and fields[0] == b"Z":
                    with contextlib.suppress(NotFoundError):
                        found.add(identify(pid))
    return found
