"""Where this process's C library gets memory from, mallopt(3)."""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8


def use_one_arena() -> bool:
    """Let all threads share one arena; tell whether the C library can. For before there are any.

    glibc makes arenas for threads, up to eight for each processor, and each keeps the most that it
    ever needed: a crowd of clients would cost the daemon memory long after it has gone, and the
    next crowd, met by other threads, would cost it more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, 1) == 1
