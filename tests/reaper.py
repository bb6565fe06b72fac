"""Run a command and reap whatever it orphans: `reaper.py COMMAND [ARG...]`.

A PID namespace ends only when all of its processes have been reaped (pid_namespaces(7)). What a
killed daemon had started in one goes to the machine's first process, and in many a container that
one takes minutes, or never looks.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36


def main(argv: list[str]) -> int:
    """Return the command's exit code as a shell would know it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    handed_on = (signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, handed_on)
    # A terminal interrupts the command by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid = os.posix_spawnp(
        argv[0], argv, os.environ, setsigmask=(), setsigdef=(signal.SIGINT, signal.SIGPIPE)
    )
    for number in handed_on:
        signal.signal(number, lambda sent, _: os.kill(pid, sent))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handed_on)
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
