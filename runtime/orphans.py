"""Children that come to us because their parents died.

The daemon is a subreaper: a program that an OCI runtime starts and leaves is ours to wait for, and
so is a container whose monitor was killed. What nobody waits for must still be reaped, and soon: a
zombie that crun left in a container's PID namespace keeps the container from ending
(pid_namespaces(7): its first process outlives SIGKILL until all others are reaped).
"""

import asyncio
import contextlib
import os

from runtime.pidfd import ProcessId, identify
from store.errors import NotFoundError


async def sweep(every: float = 2.0) -> None:
    """For ever: reap each child that nobody has reaped for a whole round of `every` seconds.

    That is long enough for whoever started one and waits for it.
    """
    before: ProcessId | None = None
    while True:
        await asyncio.sleep(every)
        found = _zombie()
        while found is not None and found == before:
            with contextlib.suppress(ChildProcessError):
                flags = os.WEXITED | os.WNOHANG
                os.waitid(os.P_PID, found.pid, flags)  # noqa: ASYNC222 - does not wait
            found = _zombie()
        before = found


def _zombie() -> ProcessId | None:
    """Return a child that can be waited for, without doing so."""
    try:
        status = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if status is None else identify(status.si_pid)
    except (ChildProcessError, NotFoundError):
        return None
