"""Children that come to us because their parents died.

The daemon is a subreaper: a program that an OCI runtime starts and leaves is ours to wait for, and
so is a container whose monitor was killed. What nobody waits for must still be reaped.
"""

import asyncio
import contextlib
import os

from runtime.monitor import ProcessId
from runtime.pidfd import PROC, stat_fields


async def sweep(every: float = 30.0) -> None:
    """For ever: reap each child that nobody has reaped for a whole round of `every` seconds.

    That is long enough for whoever started one and waits for it.
    """
    before: set[ProcessId] = set()
    while True:
        await asyncio.sleep(every)
        now = await asyncio.to_thread(_zombies)
        for process in now & before:
            with contextlib.suppress(ChildProcessError):
                flags = os.WEXITED | os.WNOHANG
                os.waitid(os.P_PID, process.pid, flags)  # noqa: ASYNC222 - does not wait
        before = now


def _zombies() -> set[ProcessId]:
    own = str(os.getpid()).encode()
    found = set()
    for name in os.listdir(PROC):  # noqa: PTH208 - names, not paths, a thousand of them
        fields = stat_fields(int(name)) if name.isdigit() else None
        if fields is not None and fields[0] == b"Z" and fields[1] == own:
            found.add(ProcessId(pid=int(name), started=int(fields[19])))
    return found
