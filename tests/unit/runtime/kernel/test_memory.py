import subprocess
import sys

import pytest

# Eight threads take memory at the same time, then glibc says how many arenas it has.
PROGRAM = """
import ctypes, sys, threading
from runtime.kernel.memory import use_one_arena
libc = ctypes.CDLL(None)
if sys.argv[1] == "one":
    assert use_one_arena()
together = threading.Barrier(8)
def take():
    together.wait()
    for _ in range(1000):
        libc.malloc(5000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.parametrize(("mode", "few"), [("one", True), ("many", False)])
def test_threads_share_an_arena_when_told_to(mode: str, *, few: bool) -> None:
    argv = [sys.executable, "-c", PROGRAM, mode]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert (said.count("<heap nr=") == 1) is few
